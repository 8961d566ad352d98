//! DNS names, queries and responses in wire form.

#![forbid(unsafe_code)]
