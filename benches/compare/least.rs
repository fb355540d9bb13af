//! The least that a program can do between a FIFO and a local syslog socket, as cat(1) is for a
//! file: read(2), a search for newlines, sendmmsg(2) in groups, and waiting in it. What it takes is
//! the system's share of what the others take.

use std::ffi::OsString;
use std::io::{self, IoSlice, Read};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixDatagram;
use std::process::Command;

use nix::sys::socket::{MsgFlags, MultiHeaders, sendmmsg};

use crate::common::site::{Site, open_reader};

/// How this program is told to be that one.
const OPTION: &str = "--least";

/// As long as what bdaemon writes in front.
const HEADER: &[u8] = b"<14>Nov 22 18:00:00 bdaemon[1234]: ";

const GROUP: usize = 64;

pub(crate) fn command(site: &Site) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.arg(OPTION).arg(site.socket()).stdin(open_reader(&site.fifo()));
    command
}

/// The socket, if this process was started by [`command`].
pub(crate) fn is_asked_for() -> Option<OsString> {
    let mut arguments = std::env::args_os().skip(1);
    arguments.next().filter(|argument| argument == OPTION).and_then(|_| arguments.next())
}

/// Sends the lines of standard input, until that ends.
pub(crate) fn run(socket: &OsString) {
    let syslogd = UnixDatagram::unbound().unwrap();
    syslogd.connect(socket).unwrap();
    let mut headers = MultiHeaders::preallocate(GROUP, None);
    let mut input = io::stdin().lock();
    let mut buffer = vec![0; 128 << 10];
    let mut filled = 0;
    loop {
        let count = input.read(&mut buffer[filled..]).unwrap();
        if count == 0 {
            return;
        }
        filled += count;
        let end = memchr::memrchr(b'\n', &buffer[..filled]).map_or(0, |newline| newline + 1);
        let lines: Vec<_> = buffer[..end]
            .split_inclusive(|byte| *byte == b'\n')
            .map(|line| [IoSlice::new(HEADER), IoSlice::new(&line[..line.len() - 1])])
            .collect();
        let mut rest = &lines[..];
        while !rest.is_empty() {
            let group = &rest[..rest.len().min(GROUP)];
            let addresses = [None::<()>; GROUP];
            let fd = syslogd.as_raw_fd();
            let sent = sendmmsg(fd, &mut headers, group, addresses, [], MsgFlags::empty());
            rest = &rest[sent.unwrap().count()..];
        }
        buffer.copy_within(end..filled, 0);
        filled -= end;
    }
}
