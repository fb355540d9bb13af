//! What the operating system does, behind typed wrappers, so that the rest reads as policy. A
//! difference between systems is one function here.

use std::io;
use std::os::fd::AsFd;
use std::path::Path;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

pub(crate) mod account;
pub(crate) mod entry;
pub(crate) mod host;
pub(crate) mod lock;
pub(crate) mod signals;
pub(crate) mod socket;
pub(crate) mod stamp;

/// What an error says, without the number that the standard library puts behind it.
pub(crate) fn why(error: &io::Error) -> String {
    let system = error.raw_os_error().map(|number| Errno::from_raw(number).desc().to_owned());
    system.unwrap_or_else(|| error.to_string())
}

/// What to do about a file that cannot be made, as far as that can be seen: words to put behind the
/// error, or nothing.
pub(crate) fn remedy(path: &Path) -> &'static str {
    match path.parent() {
        Some(directory) if !directory.exists() => "; make its directory",
        _ => "",
    }
}

/// Whether a write(2) of up to `PIPE_BUF` bytes would not wait for whoever reads.
pub(crate) fn takes_now(file: impl AsFd) -> nix::Result<bool> {
    let mut fds = [PollFd::new(file.as_fd(), PollFlags::POLLOUT)];
    Ok(poll(&mut fds, PollTimeout::ZERO)? > 0)
}

/// Whether it failed because this process, or the system, has no descriptors left.
pub(crate) fn lacks_descriptors(error: &io::Error) -> bool {
    error
        .raw_os_error()
        .is_some_and(|number| matches!(Errno::from_raw(number), Errno::EMFILE | Errno::ENFILE))
}
