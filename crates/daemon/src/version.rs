//! What this program is.

/// Version of the program.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Commit it was built from; empty where the build did not say.
pub(crate) const REVISION: &str = match option_env!("PORTOLAN_REVISION") {
    Some(revision) => revision,
    None => "",
};

/// Compiler it was built with.
pub(crate) const COMPILER: &str = concat!("rust", env!("CARGO_PKG_RUST_VERSION"));

/// The two lines of `-version`, as CoreDNS arranges them.
pub(crate) fn lines() -> [String; 2] {
    let os = std::env::consts::OS;
    let arch = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let revision = if REVISION.is_empty() {
        String::new()
    } else {
        format!(", {REVISION}")
    };
    [
        format!("Portolan-{VERSION}"),
        format!("{os}/{arch}, {COMPILER}{revision}"),
    ]
}
