//! Where the records go whose instructions are counted.

use std::fs::File;
use std::io::Read;
use std::net::UdpSocket;
use std::path::PathBuf;
use std::time::Duration;

use crate::common::daemon;
use crate::common::running::Running;
use crate::common::site::Site;

#[derive(Clone, Copy)]
pub(crate) enum Outlet {
    Text,
    /// Text again, with a record a read: what everything costs that is done once for a read.
    Single,
    Json,
    /// Over UDP: a local socket makes its sender wait when the receiver is behind, and how often
    /// is another number in each run.
    Syslog,
}

impl Outlet {
    pub(crate) const ALL: [Self; 4] = [Self::Text, Self::Single, Self::Json, Self::Syslog];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Single => "single",
            Self::Json => "json",
            Self::Syslog => "syslog",
        }
    }

    /// Lines written at a time: fewer bytes than any pipe holds, fewer datagrams than any socket
    /// does.
    pub(crate) fn portion(self) -> usize {
        if let Self::Single = self { 1 } else { 100 }
    }

    pub(crate) fn open(self, site: &Site) -> Arrivals {
        match self {
            Self::Text | Self::Single => {
                Arrivals::File { path: site.current(), format: "text", open: None }
            }
            Self::Json => Arrivals::File { path: site.current(), format: "json", open: None },
            Self::Syslog => {
                let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
                socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
                Arrivals::Socket(socket)
            }
        }
    }
}

/// What has come out.
pub(crate) enum Arrivals {
    File { path: PathBuf, format: &'static str, open: Option<File> },
    Socket(UdpSocket),
}

impl Arrivals {
    /// The configuration of the pipe.
    pub(crate) fn pipe(&self, site: &Site) -> String {
        let target = match self {
            Self::File { format, .. } => {
                daemon::file(site, "current") + &format!("format = \"{format}\"\n")
            }
            Self::Socket(socket) => {
                let address = socket.local_addr().unwrap();
                format!("target = \"syslog\"\naddress = \"udp:{address}\"\n")
            }
        };
        daemon::pipe(site, "in", "flush_after = \"1h\"\n", &target)
    }

    /// Waits until so many records more have come out.
    pub(crate) fn take(&mut self, count: usize, child: &mut Running) {
        match self {
            Self::File { path, open, .. } => {
                let file = open.get_or_insert_with(|| child.wait_for(|| File::open(&*path).ok()));
                let mut seen = 0;
                while seen < count {
                    let mut bytes = Vec::new();
                    child.wait_until(|| (&*file).read_to_end(&mut bytes).unwrap() > 0);
                    seen += memchr::memchr_iter(b'\n', &bytes).count();
                }
                assert_eq!(seen, count, "a line for each record");
            }
            Self::Socket(socket) => {
                let mut buffer = [0; 9000];
                for _ in 0..count {
                    socket.recv(&mut buffer).expect("a message for each record");
                }
            }
        }
    }
}
