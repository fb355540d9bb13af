//! `bdaemonctl top`: rates, backlog and trouble as they change.

use std::io::{self, IsTerminal, Write};
use std::iter;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use clap::Args;
use crossterm::event::{Event, KeyCode, KeyModifiers, poll, read};
use crossterm::style::{Attribute, Color, Print, ResetColor, SetAttribute, SetForegroundColor};
use crossterm::terminal::{
    Clear, ClearType, EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode,
    enable_raw_mode, size,
};
use crossterm::{cursor, execute, queue};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout};
use signal_hook::consts::signal::{SIGHUP, SIGINT, SIGTERM};

use super::client::Client;
use super::rates::{Rates, short};
use super::status::{aligned, answer};
use super::{Context, CtlError, show, show_json};
use crate::config::Span;
use crate::control::protocol::{Request, Status, TargetState};

/// How often a key or a signal is looked for.
const ATTENTION: Duration = Duration::from_millis(100);

/// Show rates, backlog and trouble as they change; q quits
#[derive(Debug, Args)]
pub(super) struct Top {
    /// The time between two looks
    #[arg(short, long, value_name = "DURATION", default_value = "1s")]
    interval: Span,

    /// End after this many looks [default: never]
    #[arg(short = 'n', long, value_name = "N")]
    count: Option<u64>,
}

impl Top {
    pub(super) fn run(self, context: &Context) -> Result<(), CtlError> {
        let mut client = context.connect()?;
        let on_terminal = io::stdout().is_terminal() && io::stdin().is_terminal();
        if on_terminal && !context.json {
            self.on_screen(&mut client)
        } else {
            self.in_lines(&mut client, context.json)
        }
    }

    fn looks(&self) -> u64 {
        self.count.unwrap_or(u64::MAX)
    }

    /// Without a terminal: a line for each pipe and each target at every look, or one of JSON.
    fn in_lines(&self, client: &mut Client, json: bool) -> Result<(), CtlError> {
        let mut rates = Rates::default();
        for look in 0..self.looks() {
            if look > 0 {
                std::thread::sleep(self.interval.0);
            }
            client.send(&Request::Status {})?;
            let status = answer(client)?;
            if json {
                show_json(&status)?;
                continue;
            }
            rates.look(&status);
            let (pipes, targets) = tables(&status, &rates);
            show(aligned(&pipes[1..]) + &aligned(&targets[1..]))?;
        }
        Ok(())
    }

    fn on_screen(&self, client: &mut Client) -> Result<(), CtlError> {
        let end = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            signal_hook::flag::register(signal, Arc::clone(&end)).map_err(CtlError::Stdout)?;
        }
        let mut rates = Rates::default();
        let screen = Screen::enter().map_err(CtlError::Stdout)?;
        for _ in 0..self.looks() {
            client.send(&Request::Status {})?;
            // A daemon that is busy with its end answers late, and a suspended one does not.
            if !client.has_answer()
                && is_ended(&end, &Until::Answer(client)).map_err(CtlError::Stdout)?
            {
                break;
            }
            let status = answer(client)?;
            rates.look(&status);
            screen.draw(&status, &rates).map_err(CtlError::Stdout)?;
            let next = Instant::now().checked_add(self.interval.0);
            if is_ended(&end, &Until::Time(next)).map_err(CtlError::Stdout)? {
                break;
            }
        }
        Ok(())
    }
}

/// What is waited for while keys and signals are listened to.
enum Until<'a> {
    /// The daemon has answered, or gone away.
    Answer(&'a Client),
    /// Never, if there is no such moment.
    Time(Option<Instant>),
}

impl Until<'_> {
    /// Waits for a moment; says whether it has come, and what the terminal has.
    fn wait(&self) -> io::Result<(bool, PollFlags)> {
        let (stream, deadline) = match self {
            Self::Answer(client) => (Some(client.stream()), None),
            Self::Time(deadline) => (None, *deadline),
        };
        let left = |deadline: Instant| deadline.saturating_duration_since(Instant::now());
        let timeout = deadline.map_or(ATTENTION, |deadline| left(deadline).min(ATTENTION));
        let timeout = PollTimeout::try_from(timeout).unwrap_or(PollTimeout::ZERO);
        let stdin = io::stdin();
        let watched = iter::once(stdin.as_fd()).chain(stream.map(AsFd::as_fd));
        let mut fds: Vec<_> = watched.map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
        match nix::poll::poll(&mut fds, timeout) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        let mut events = fds.iter().map(|fd| fd.revents().unwrap_or(PollFlags::empty()));
        let terminal = events.next().unwrap_or(PollFlags::empty());
        let answered = events.any(|events| !events.is_empty());
        Ok((answered || deadline.is_some_and(|deadline| left(deadline).is_zero()), terminal))
    }
}

/// Waits, and says whether a key, a signal or the loss of the terminal has ended it all meanwhile.
fn is_ended(end: &AtomicBool, until: &Until<'_>) -> io::Result<bool> {
    loop {
        let (come, terminal) = until.wait()?;
        if end.load(Ordering::Relaxed) {
            return Ok(true);
        }
        // Looked at before crossterm does, which would read from one that has gone for ever.
        if !terminal.difference(PollFlags::POLLIN).is_empty() {
            return Ok(true);
        }
        while terminal.contains(PollFlags::POLLIN) && poll(Duration::ZERO)? {
            if asks_to_quit(&read()?) {
                return Ok(true);
            }
        }
        if come {
            return Ok(false);
        }
    }
}

fn asks_to_quit(event: &Event) -> bool {
    let Event::Key(key) = event else { return false };
    match key.code {
        KeyCode::Char('q') | KeyCode::Esc => true,
        KeyCode::Char('c') => key.modifiers.contains(KeyModifiers::CONTROL),
        _ => false,
    }
}

/// The rows for pipes and for targets, each with a heading.
fn tables(status: &Status, rates: &Rates) -> (Vec<[String; 6]>, Vec<[String; 6]>) {
    let mut pipes =
        vec![["PIPE", "STATE", "RATE/s", "RECORDS", "BYTES", "RATE"].map(str::to_owned)];
    pipes.extend(status.pipes.iter().map(|pipe| {
        [
            pipe.name.clone(),
            pipe.state.word().to_owned(),
            short(rates.of_pipe(&pipe.name)),
            pipe.records.to_string(),
            pipe.bytes.to_string(),
            rates.graph(&pipe.name),
        ]
    }));
    let headings = ["TARGET", "STATE", "RATE/s", "DELIVERED", "BACKLOG", "TROUBLE"];
    let mut targets = vec![headings.map(str::to_owned)];
    targets.extend(status.targets.iter().map(|target| {
        let (state, trouble) = match target.state {
            TargetState::Ok => ("ok", String::new()),
            TargetState::Stalled => ("stalled", target.why.clone().unwrap_or_default()),
        };
        [
            target.name.clone(),
            state.to_owned(),
            short(rates.of_target(&target.name)),
            target.delivered.to_string(),
            target.backlog_bytes.to_string(),
            trouble,
        ]
    }));
    (pipes, targets)
}

/// The terminal while it is ours. It is given back as it was when this goes out of scope, and when
/// the program panics.
struct Screen {
    colour: bool,
}

impl Screen {
    fn enter() -> io::Result<Self> {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            give_back();
            before(panic);
        }));
        enable_raw_mode()?;
        let screen =
            Self { colour: std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()) };
        execute!(io::stdout(), EnterAlternateScreen, cursor::Hide)?;
        Ok(screen)
    }

    fn draw(&self, status: &Status, rates: &Rates) -> io::Result<()> {
        let (width, height) = match size()? {
            // A serial console does not know its size.
            (0, _) | (_, 0) => (80, 24),
            size => size,
        };
        let uptime = Duration::try_from_secs_f64(status.uptime_seconds).unwrap_or_default();
        let uptime = Span(Duration::from_secs(uptime.as_secs()));
        let (pipes, targets) = tables(status, rates);
        let title = format!(
            "bdaemon {} pid {} up {uptime}, {} of memory at most; q quits",
            status.version,
            status.pid,
            short(mebibytes(status.peak_resident_bytes)) + " MiB",
        );
        let text = format!("{title}\n\n{}\n{}", aligned(&pipes), aligned(&targets));
        let mut out = io::stdout().lock();
        queue!(out, cursor::MoveTo(0, 0))?;
        for line in text.lines().take(usize::from(height)) {
            let heading = line.starts_with("PIPE ") || line.starts_with("TARGET ");
            if heading {
                queue!(out, SetAttribute(Attribute::Bold))?;
            } else if self.colour && line.contains(" stalled ") {
                queue!(out, SetForegroundColor(Color::Red))?;
            }
            let shown: String = line.chars().take(usize::from(width)).collect();
            queue!(out, Print(shown), SetAttribute(Attribute::Reset))?;
            if self.colour {
                queue!(out, ResetColor)?;
            }
            queue!(out, Clear(ClearType::UntilNewLine), cursor::MoveToNextLine(1))?;
        }
        queue!(out, Clear(ClearType::FromCursorDown))?;
        out.flush()
    }
}

#[expect(clippy::cast_precision_loss, reason = "shown with three digits")]
fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

fn give_back() {
    // Nothing is left to be done if the terminal is gone.
    let _ = execute!(io::stdout(), cursor::Show, LeaveAlternateScreen);
    let _ = disable_raw_mode();
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back();
    }
}
