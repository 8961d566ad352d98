//! Several servers that share the names of their containers.
//!
//! Most tests have their nodes on loopback addresses. Those that cut links
//! have a host for each in a network of their own, and need root.

mod brief;
mod churn;
mod containers;
mod discovery;
mod failure;
mod hostile;
mod joining;
mod limits;
mod owners;
mod partition;
mod reload;
mod restart;
mod rolling;
mod sight;
mod site;
mod spread;
mod strangers;
