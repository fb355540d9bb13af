//! The name of this machine, as messages carry it.

/// The longest HOSTNAME of RFC 5424.
const HOSTNAME_MAX: usize = 255;

/// What gethostname(3) says, with what cannot stand in a message left out; `-`, the nil value of
/// RFC 5424, where nothing remains.
pub(crate) fn name() -> String {
    let name = nix::unistd::gethostname().unwrap_or_default();
    let printable = |c: &char| c.is_ascii_graphic();
    let name: String =
        name.to_string_lossy().chars().filter(printable).take(HOSTNAME_MAX).collect();
    if name.is_empty() { "-".to_owned() } else { name }
}
