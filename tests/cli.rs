//! The command line, configuration errors, signals and reload.
