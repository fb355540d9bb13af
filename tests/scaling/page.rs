//! What `docs/scaling.md` shows and says.

const PAGE: &str = include_str!("../../docs/scaling.md");

/// The block of the page whose first line is a comment with this text.
pub(crate) fn block(name: &str) -> String {
    let first = format!("# {name}");
    let blocks = PAGE.split("\n```").skip(1).step_by(2);
    let mut blocks = blocks.filter_map(|block| block.split_once('\n'));
    let found = blocks.find(|(_, text)| text.lines().next() == Some(&first));
    found.unwrap_or_else(|| panic!("no block {first:?}")).1.to_owned() + "\n"
}

/// Checks that the page promises what a test is about to hold it to.
pub(crate) fn says(sentence: &str) {
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words(PAGE).contains(&words(sentence)), "the page does not say: {sentence}");
}
