//! What clients of the control socket ask for, and who may.
//!
//! The mirror of `src/ctl`: there a subcommand asks, here the daemon does it and answers.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use nix::unistd::{self};

use super::Daemon;
use super::inlet::OutletId;
use super::relay::Relay;
use crate::config::LOG_LEVELS;
use crate::control::protocol::{Reply, Request};
use crate::control::server::{Client, ClientId, Server};
use crate::exit::Sysexit;
use crate::record::escape_str;
use crate::sys::stamp::Stamp;

/// The clients, with what each is still to be told.
#[derive(Default)]
pub(super) struct Control {
    pub(super) server: Server,
    followers: Vec<Follower>,
    senders: Vec<Awaiting>,
    /// Whether the administrator knows that the socket cannot be made again.
    pub(super) socket_missed: bool,
}

/// A client that wants every record that comes.
struct Follower {
    client: ClientId,
    pipe: Option<String>,
    /// The number of the next record that it is to have.
    next: u64,
}

/// A client that wants to know when what it sent was delivered.
struct Awaiting {
    client: ClientId,
    /// The records on their way: for each its target, and how many that target will have
    /// delivered when it has delivered this one.
    awaited: VecDeque<(OutletId, u64)>,
    /// A record for which there is no room yet: its pipe, and its bytes.
    waiting: Option<(Option<String>, Vec<u8>)>,
}

/// A stop that a client has asked for.
pub(super) struct StopRequest {
    pub(super) client: ClientId,
    /// In place of `stop_timeout`.
    pub(super) timeout: Option<Duration>,
}

/// Why a request is refused.
pub(super) type Refusal = (Sysexit, String);

impl Control {
    /// Tells the clients what there is to tell, as far as they read it.
    pub(super) fn tell(&mut self, relay: &Relay) {
        for client in &mut self.server.clients {
            client.awaits = false;
        }
        for follower in &mut self.followers {
            if let Some(client) = self.server.client(follower.client) {
                client.awaits = true;
                follower.tell(client, relay);
            }
        }
        for sender in &mut self.senders {
            if let Some(client) = self.server.client(sender.client) {
                sender.tell(client, relay);
                client.awaits |= !sender.awaited.is_empty();
            }
        }
        self.server.flush();
        let Self { server, followers, senders, .. } = self;
        followers.retain(|follower| server.client(follower.client).is_some());
        senders.retain(|sender| server.client(sender.client).is_some());
    }

    /// Whether something can be done for a client at once, without anything happening before.
    pub(super) fn is_pending(&self, relay: &Relay) -> bool {
        let listening = |id| self.server.clients.iter().any(|c| c.id == id && c.has_room());
        let behind = |f: &Follower| f.next < relay.recent.next() && listening(f.client);
        let accepted = |sender: &Awaiting| {
            let Some((pipe, _)) = &sender.waiting else { return false };
            relay.inlet_of(pipe.as_deref()).is_none_or(|place| {
                let inlet = &relay.inlets[place];
                relay.outlets.get(inlet.outlet).is_some_and(|outlet| inlet.accepts(outlet))
            })
        };
        self.server.clients.iter().any(Client::is_ready)
            || self.followers.iter().any(behind)
            || self.senders.iter().any(accepted)
    }

    fn sender(&mut self, client: ClientId) -> &mut Awaiting {
        let place = self.senders.iter().position(|sender| sender.client == client);
        let place = place.unwrap_or_else(|| {
            self.senders.push(Awaiting { client, awaited: VecDeque::new(), waiting: None });
            self.senders.len() - 1
        });
        &mut self.senders[place]
    }
}

impl Follower {
    fn tell(&mut self, client: &mut Client, relay: &Relay) {
        let missed = relay.recent.first().saturating_sub(self.next);
        if missed > 0 && client.has_room() {
            client.answer(&Reply::Missed { records: missed });
            self.next = relay.recent.first();
        }
        while self.next < relay.recent.next() && client.has_room() {
            if let Some(passed) = relay.recent.get(self.next, self.pipe.as_deref()) {
                client.answer(&Reply::Record(passed));
            }
            self.next += 1;
        }
    }
}

impl Awaiting {
    fn tell(&mut self, client: &mut Client, relay: &Relay) {
        let delivered = |(outlet, count): &(OutletId, u64)| {
            // A target that is gone had nothing left to deliver.
            relay.outlets.get(*outlet).is_none_or(|outlet| outlet.delivered >= *count)
        };
        let done = self.awaited.iter().take_while(|awaited| delivered(awaited)).count();
        if done > 0 && client.has_room() {
            self.awaited.drain(..done);
            client.answer(&Reply::Delivered { records: done as u64 });
        }
    }
}

impl Daemon {
    /// Does what the clients ask for. A stop is left to the caller.
    pub(super) fn answer_requests(&mut self) -> Option<StopRequest> {
        if self.control.server.clients.is_empty() {
            return None;
        }
        let stamp = Stamp::now();
        let ids: Vec<_> = self.control.server.clients.iter().map(|client| client.id).collect();
        for id in ids {
            self.send_waiting(id, &stamp);
            while let Some(line) = self.next_line(id) {
                let request = match serde_json::from_slice(&line) {
                    Ok(request) => request,
                    Err(error) => {
                        // It has words of the request in it.
                        let message = escape_str(&format!("not a request: {error}"));
                        let message = String::from_utf8_lossy(&message).into_owned();
                        self.refuse(id, (Sysexit::DataErr, message));
                        continue;
                    }
                };
                match self.answer(id, request, &stamp) {
                    Ok(None) => {}
                    Ok(Some(stop)) => return Some(stop),
                    Err(refusal) => self.refuse(id, refusal),
                }
            }
        }
        None
    }

    fn next_line(&mut self, id: ClientId) -> Option<Vec<u8>> {
        self.control.server.client(id)?.next_line()
    }

    fn refuse(&mut self, id: ClientId, (code, message): Refusal) {
        if let Some(client) = self.control.server.client(id) {
            client.refuse(code, message);
        }
    }

    fn reply(&mut self, id: ClientId, reply: &Reply) {
        if let Some(client) = self.control.server.client(id) {
            client.answer(reply);
        }
    }

    fn answer(
        &mut self,
        id: ClientId,
        request: Request,
        stamp: &Stamp,
    ) -> Result<Option<StopRequest>, Refusal> {
        match request {
            Request::Status {} => {
                let status = Reply::Status(Box::new(self.status()));
                self.reply(id, &status);
            }
            Request::Tail { pipe, lines, follow } => self.tail(id, pipe, lines, follow)?,
            Request::LogLevel { level } => {
                self.check_rights(id)?;
                let level = log_level(level.as_deref())?;
                self.reply(id, &Reply::LogLevel { level });
            }
            Request::Reload {} => {
                self.check_rights(id)?;
                self.reload()?;
                self.reply(id, &Reply::Done {});
            }
            Request::Reopen {} => {
                self.check_rights(id)?;
                self.reopen().map_err(|why| (Sysexit::CantCreat, why))?;
                self.reply(id, &Reply::Done {});
            }
            Request::Stop { timeout } => {
                self.check_rights(id)?;
                let timeout = timeout.map(Duration::try_from_secs_f64).transpose();
                let timeout =
                    timeout.map_err(|_| (Sysexit::DataErr, "not a timeout".to_owned()))?;
                return Ok(Some(StopRequest { client: id, timeout }));
            }
            Request::Send { pipe, text, hex } => {
                let record = record_of(text, &hex)?;
                self.find_inlet(pipe.as_deref())?;
                self.control.sender(id).waiting = Some((pipe, record));
                self.send_waiting(id, stamp);
            }
        }
        Ok(None)
    }

    /// Who may change something: root, and the user that the daemon runs as.
    fn check_rights(&mut self, id: ClientId) -> Result<(), Refusal> {
        let user = self.control.server.client(id).map(|client| client.user);
        if user.is_some_and(|user| user.is_root() || user == unistd::geteuid()) {
            return Ok(());
        }
        let others =
            if unistd::geteuid().is_root() { String::new() } else { format!(" and {}", self.user) };
        Err((Sysexit::NoPerm, format!("only root{others} may do this")))
    }

    fn tail(
        &mut self,
        id: ClientId,
        pipe: Option<String>,
        lines: usize,
        follow: bool,
    ) -> Result<(), Refusal> {
        if pipe.is_some() {
            self.find_inlet(pipe.as_deref())?;
        }
        let recent = &self.relay.recent;
        let next = recent.last(lines, pipe.as_deref());
        if follow {
            // A second wish takes the place of the first.
            self.control.followers.retain(|follower| follower.client != id);
            self.control.followers.push(Follower { client: id, pipe, next });
            return Ok(());
        }
        let Some(client) = self.control.server.client(id) else { return Ok(()) };
        // What the ring holds is more than may wait for a client in general, and less than it
        // takes to be harmful.
        client.answer_all(
            (next..recent.next())
                .filter_map(|number| recent.get(number, pipe.as_deref()).map(Reply::Record)),
        );
        Ok(())
    }

    /// The place of the inlet with this name, or of the first one.
    fn find_inlet(&self, name: Option<&str>) -> Result<usize, Refusal> {
        self.relay.inlet_of(name).ok_or_else(|| {
            let name = name.unwrap_or_default();
            let known: Vec<_> = self.config.pipes.iter().map(|pipe| &*pipe.name).collect();
            let text = format!("no pipe `{name}`; there is {}", known.join(", "));
            (Sysexit::Usage, text)
        })
    }

    /// Puts a record on its way if it can be now; its client reads no further until it can.
    fn send_waiting(&mut self, id: ClientId, stamp: &Stamp) {
        let Some(sender) = self.control.senders.iter_mut().find(|sender| sender.client == id)
        else {
            return;
        };
        let Some((pipe, record)) = sender.waiting.take() else { return };
        let place = match self.find_inlet(pipe.as_deref()) {
            Ok(place) => place,
            // A reload has taken the pipe away meanwhile.
            Err(refusal) => {
                if let Some(client) = self.control.server.client(id) {
                    client.paused = false;
                }
                return self.refuse(id, refusal);
            }
        };
        let Relay { inlets, outlets, recent, .. } = &mut self.relay;
        let inlet = &mut inlets[place];
        let accepted = outlets.get_mut(inlet.outlet).filter(|outlet| inlet.accepts(outlet));
        let sender = self.control.sender(id);
        let paused = match accepted {
            Some(outlet) => {
                inlet.send(&record, stamp, outlet, recent);
                let count = outlet.delivered + outlet.batch.records();
                sender.awaited.push_back((inlet.outlet, count));
                false
            }
            None => {
                sender.waiting = Some((pipe, record));
                true
            }
        };
        if let Some(client) = self.control.server.client(id) {
            client.paused = paused;
        }
    }
}

/// Sets the level of bdaemon's own messages, if one is given, and says which is in force.
fn log_level(level: Option<&str>) -> Result<String, Refusal> {
    if let Some(level) = level {
        let found = LOG_LEVELS.iter().find(|(name, _)| *name == level);
        let names: Vec<_> = LOG_LEVELS.iter().map(|(name, _)| *name).collect();
        let (name, filter) = found.ok_or_else(|| {
            let text = format!("\"{level}\" is not a log level; allowed: {}", names.join(", "));
            (Sysexit::Usage, text)
        })?;
        log::info!("log level is now {name}, until the next reload");
        log::set_max_level(*filter);
    }
    let found = LOG_LEVELS.iter().find(|(_, filter)| *filter == log::max_level());
    Ok(found.map_or("off", |(name, _)| *name).to_owned())
}

/// The bytes of a record, however they were sent.
fn record_of(text: String, hex: &str) -> Result<Vec<u8>, Refusal> {
    let refusal = |why: &str| (Sysexit::DataErr, why.to_owned());
    let record = match (text.is_empty(), hex.is_empty()) {
        (_, true) => text.into_bytes(),
        (true, false) => bytes_of(hex)?,
        (false, false) => return Err(refusal("a record is sent as text or as hex, not as both")),
    };
    if memchr::memchr2(b'\n', 0, &record).is_some() {
        return Err(refusal("a record has no newline and no NUL; send several"));
    }
    Ok(record)
}

/// Bytes out of hexadecimal digits.
fn bytes_of(hex: &str) -> Result<Vec<u8>, Refusal> {
    let wrong = || (Sysexit::DataErr, "hex: two hexadecimal digits make a byte".to_owned());
    if !hex.len().is_multiple_of(2) || !hex.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return Err(wrong());
    }
    let pairs = (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16));
    pairs.collect::<Result<_, _>>().map_err(|_| wrong())
}

impl Daemon {
    /// When clients need attention though nothing happens.
    pub(super) fn wake(&self) -> Instant {
        if self.control.is_pending(&self.relay) {
            return Instant::now();
        }
        let late = self.control.server.deadline();
        late.map_or(self.next_look, |late| late.min(self.next_look))
    }
}
