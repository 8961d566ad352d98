//! Containers of a real Docker Engine, and of a fake one where a real one is
//! too slow or too well-behaved.

mod absence;
mod brief;
mod churn;
mod dockerd;
mod engine;
mod engines;
mod fake;
mod healthy_only;
mod hostile;
mod joyride;
mod labels;
mod latency;
mod memory;
mod outage;
mod owners;
mod restart;
mod server;
mod start;
mod upstream;
