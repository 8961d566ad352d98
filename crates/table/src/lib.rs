//! The record table: rows, layers, snapshots, lookup.

#![forbid(unsafe_code)]
