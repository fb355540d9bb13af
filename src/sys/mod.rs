//! What the operating system does, behind typed wrappers, so that the rest reads as policy. A
//! difference between systems is one function here.

pub(crate) mod account;
pub(crate) mod entry;
pub(crate) mod host;
pub(crate) mod lock;
pub(crate) mod signals;
pub(crate) mod stamp;
