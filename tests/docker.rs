//! Containers of a real Docker Engine, and of a fake one where a real one is
//! too slow or too well-behaved.

mod absence;
mod brief;
mod churn;
mod dockerd;
pub(crate) mod engine;
mod engines;
mod fake;
mod healthy_only;
mod hostile;
mod image;
pub(crate) mod joyride;
mod labels;
mod latency;
mod legacy;
mod machine;
mod memory;
mod outage;
mod owners;
mod privileges;
mod proxy;
mod remote;
mod restart;
mod router;
mod server;
mod start;
mod traefik;
mod upstream;
