//! How the daemon is: what `status`, `stats` and `top` show.

use nix::sys::resource::{UsageWho, getrusage};
use nix::unistd::{self, User};

use super::Daemon;
use super::inlet::Inlet;
use super::outlet::Outlet;
use crate::control::protocol::{PipeState, PipeStatus, Status, TargetState, TargetStatus};
use crate::sys::stamp::Stamp;

impl Daemon {
    pub(super) fn status(&self) -> Status {
        let usage = getrusage(UsageWho::RUSAGE_SELF);
        let peak_kib = usage.map_or(0, |usage| u64::try_from(usage.max_rss()).unwrap_or(0));
        let config = self.config_path.as_ref();
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            user: self.user.clone(),
            config: config.map(|path| path.display().to_string()),
            started: self.started.1.text().to_string(),
            uptime_seconds: self.started.0.elapsed().as_secs_f64(),
            peak_resident_bytes: peak_kib << 10,
            log_level: log::max_level().to_string().to_lowercase(),
            reloads: self.reloads,
            failed_reloads: self.failed_reloads,
            last_reload_error: self.last_reload_error.clone(),
            clients: self.control.server.clients.len(),
            pipes: self.relay.inlets.iter().map(|inlet| self.pipe_status(inlet)).collect(),
            targets: self.relay.outlets.iter().map(|(_, outlet)| target_status(outlet)).collect(),
        }
    }

    fn pipe_status(&self, inlet: &Inlet) -> PipeStatus {
        let outlet = self.relay.outlets.get(inlet.outlet);
        let state = match outlet {
            _ if inlet.retired => PipeState::Retired,
            Some(outlet) if outlet.stalled().is_none() => PipeState::Reading,
            _ => PipeState::Waiting,
        };
        PipeStatus {
            name: inlet.settings.name.clone(),
            path: inlet.pipe.path().display().to_string(),
            target: outlet.map_or(String::new(), |outlet| outlet.destination.to_string()),
            state,
            records: inlet.counts.records,
            bytes: inlet.counts.bytes,
            splits: inlet.counts.splits,
            escapes: inlet.counts.escapes,
            last_record: inlet.last_record().map(str::to_owned),
        }
    }
}

fn target_status(outlet: &Outlet) -> TargetStatus {
    let stalled = outlet.stalled();
    TargetStatus {
        name: outlet.destination.to_string(),
        state: if stalled.is_some() { TargetState::Stalled } else { TargetState::Ok },
        since: stalled.map(|(since, _)| Stamp::before(since.elapsed()).text().to_string()),
        why: stalled.map(|(_, why)| why.to_owned()),
        delivered: outlet.delivered,
        retries: outlet.retries,
        reconnects: outlet.reconnects(),
        backlog_bytes: outlet.batch.backlog() as u64,
        backlog_records: outlet.batch.records(),
    }
}

/// The user that this process is, by name where it has one. Looking that up may take long.
pub(super) fn user_name() -> String {
    let uid = unistd::geteuid();
    User::from_uid(uid).ok().flatten().map_or_else(|| uid.to_string(), |user| user.name)
}
