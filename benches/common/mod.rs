//! What the programs that measure bdaemon share. Each uses a part of it.
#![allow(dead_code)]

pub(crate) mod daemon;
pub(crate) mod lines;
pub(crate) mod running;
pub(crate) mod site;
