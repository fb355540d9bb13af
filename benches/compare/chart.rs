//! `docs/benchmarks.svg`: a bar for each program, readable on a light and on a dark page.

use std::fmt::Write;

use crate::Work;
use crate::consumers::Output;
use crate::measure::Sample;
use crate::report::thousands;
use crate::stats::Sorted;

const WIDTH: f64 = 760.0;
/// Where the bars begin, and how long the longest is.
const LEFT: f64 = 170.0;
const LONGEST: f64 = 490.0;
const BAR: f64 = 22.0;
const STEP: f64 = 31.0;

/// User time is dark and system time light; bdaemon's have another colour.
const STYLE: &str = "\
text{font:14px system-ui,-apple-system,'Segoe UI',Helvetica,Arial,sans-serif;fill:#1f2328}\
.title{font-weight:600;font-size:16px}\
.own{font-weight:600}\
.small{font-size:12.5px;fill:#59636e}\
.user{fill:#7d8590}.system{fill:#b7bdc5}\
.own-user{fill:#b3261e}.own-system{fill:#e58a84}\
@media(prefers-color-scheme:dark){\
text{fill:#e6edf3}.small{fill:#9198a1}\
.user{fill:#8b949e}.system{fill:#57606a}\
.own-user{fill:#ff6b61}.own-system{fill:#a63a33}}";

/// One bar.
struct Bar {
    name: &'static str,
    own: bool,
    user: f64,
    system: f64,
    /// The median of both together, which is not the sum of their medians.
    total: f64,
}

pub(crate) fn draw(work: &Work) -> String {
    let mut svg = String::new();
    // A String takes all that is written to it.
    let _ = write_chart(&mut svg, work);
    svg
}

fn write_chart(w: &mut String, work: &Work) -> std::fmt::Result {
    let groups = [("into a file", Output::Files), ("into a local syslog socket", Output::Socket)];
    let groups = groups.map(|(title, output)| (title, bars(work, output)));
    let all = || groups.iter().flat_map(|(_, bars)| bars);
    let most = all().map(|bar| bar.total).fold(f64::MIN_POSITIVE, f64::max);
    let height = 84.0 + all().count() as f64 * STEP + groups.len() as f64 * 34.0;
    let title = format!("CPU seconds for {} {}", thousands(work.lines.count), work.lines.name);
    writeln!(
        w,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\" role=\"img\" aria-label=\"{title}\">\n\
         <style>{STYLE}</style>\n\
         <text class=\"title\" x=\"16\" y=\"28\">{title}, from one FIFO</text>"
    )?;
    let mut y = 40.0;
    for (title, bars) in &groups {
        y += 22.0;
        writeln!(w, "<text class=\"small\" x=\"16\" y=\"{y}\">{title}</text>")?;
        y += 12.0;
        for bar in bars {
            write_bar(w, bar, y, LONGEST / most)?;
            y += STEP;
        }
    }
    y += 14.0;
    writeln!(
        w,
        "<rect class=\"user\" x=\"{LEFT}\" y=\"{}\" width=\"12\" height=\"12\"/>\
         <text class=\"small\" x=\"{}\" y=\"{}\">user</text>\
         <rect class=\"system\" x=\"{}\" y=\"{}\" width=\"12\" height=\"12\"/>\
         <text class=\"small\" x=\"{}\" y=\"{}\">system; less is better</text>\n</svg>",
        y,
        LEFT + 18.0,
        y + 11.0,
        LEFT + 64.0,
        y,
        LEFT + 82.0,
        y + 11.0
    )
}

/// The consumers with this output, the cheapest first.
fn bars(work: &Work, output: Output) -> Vec<Bar> {
    let rows = work.rows.iter().filter(|(consumer, _)| consumer.output == output);
    let mut bars: Vec<_> = rows
        .map(|(consumer, samples)| {
            let median = |value: fn(&Sample) -> f64| Sorted::of(samples.iter().map(value)).median();
            Bar {
                name: consumer.name,
                own: consumer.is_bdaemon(),
                user: median(|sample| sample.user),
                system: median(|sample| sample.system),
                total: median(Sample::cpu),
            }
        })
        .collect();
    bars.sort_by(|one, other| one.total.total_cmp(&other.total));
    bars
}

fn write_bar(w: &mut String, bar: &Bar, y: f64, scale: f64) -> std::fmt::Result {
    let (user, system) = (bar.user * scale, bar.system * scale);
    let (class, prefix) = if bar.own { (" class=\"own\"", "own-") } else { ("", "") };
    let baseline = y + BAR * 0.72;
    writeln!(
        w,
        "<text{class} x=\"{:.0}\" y=\"{baseline:.1}\" text-anchor=\"end\">{}</text>\
         <rect class=\"{prefix}user\" x=\"{LEFT}\" y=\"{y}\" width=\"{user:.1}\" height=\"{BAR}\"/>\
         <rect class=\"{prefix}system\" x=\"{:.1}\" y=\"{y}\" width=\"{system:.1}\" height=\"{BAR}\"/>\
         <text{class} x=\"{:.1}\" y=\"{baseline:.1}\">{:.2}</text>",
        LEFT - 10.0,
        bar.name,
        LEFT + user,
        LEFT + user + system + 8.0,
        bar.total
    )
}
