//! The command line, configuration errors, signals and reload.

mod builtin;
mod check;
mod flags;
mod flush;
mod mistakes;
mod ports;
mod reload;
mod reload_failed;
mod reload_kept;
mod signals;
pub(crate) mod site;
