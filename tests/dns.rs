//! Answers over UDP and TCP, upstreams, the cache, and a router in front.
