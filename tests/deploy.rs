//! What deploy/ ships: files that the programs they are for accept.

mod compose;
mod configurations;
mod dashboard;
mod files;
mod kubernetes;
mod notice;
mod pages;
mod prometheus;
mod systemd;
