//! Answers over UDP and TCP, upstreams, the cache, and a router in front.

mod allow;
mod answer;
mod bind;
mod cache;
mod descriptors;
mod docker_names;
mod edns;
mod forward;
mod hosts;
mod knot;
mod loadbalance;
mod local_address;
mod malformed;
mod router;
mod routing;
mod server;
mod tcp;
mod tcp_timing;
mod transparency;
mod truncation;
mod unknown;
mod upstream;
mod whoami;
