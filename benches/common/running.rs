//! A program that is measured.

use std::fs;
use std::process::{Child, Command};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(300);

/// What makes a program end.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    EndOfFile,
    Term,
}

/// A program that runs, and does not outlive this.
pub(crate) struct Running(Child);

impl Running {
    pub(crate) fn start(command: &mut Command) -> Self {
        Self(command.spawn().unwrap())
    }

    /// Looks every millisecond, as the time is taken to that.
    pub(crate) fn wait_for<T>(&mut self, mut condition: impl FnMut() -> Option<T>) -> T {
        let give_up = Instant::now() + PATIENCE;
        loop {
            if let Some(value) = condition() {
                return value;
            }
            assert_eq!(self.0.try_wait().unwrap(), None, "it ended early");
            assert!(Instant::now() < give_up, "lines do not arrive");
            thread::sleep(Duration::from_millis(1));
        }
    }

    pub(crate) fn wait_until(&mut self, mut condition: impl FnMut() -> bool) {
        self.wait_for(|| condition().then_some(()));
    }

    /// The most memory that was ever resident. Linux has it in proc(5); elsewhere it is what is
    /// resident now, which ps(1) knows.
    pub(crate) fn peak_resident(&self) -> u64 {
        let pid = self.0.id();
        let kib = if cfg!(target_os = "linux") {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
            let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
            peak.trim().trim_end_matches(" kB").parse::<u64>().unwrap()
        } else {
            let output = Command::new("ps").args(["-o", "rss=", "-p", &pid.to_string()]).output();
            String::from_utf8_lossy(&output.unwrap().stdout).trim().parse().unwrap()
        };
        kib << 10
    }

    /// Waits for its end, having asked for it if that is needed.
    pub(crate) fn end(mut self, end: End) {
        if end == End::Term {
            kill(Pid::from_raw(self.0.id().try_into().unwrap()), Signal::SIGTERM).unwrap();
        }
        let status = self.0.wait().unwrap();
        assert!(status.success(), "{status}");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
