//! The control socket: how bdaemonctl asks a running daemon.
//!
//! One JSON object a line, each way; `docs/control-protocol.md` describes it for scripts. Both
//! sides share the types of [`protocol`]; the daemon's side is `server`, which speaks of clients
//! and lines and not of what is asked for.

pub mod protocol;
pub(crate) mod server;
