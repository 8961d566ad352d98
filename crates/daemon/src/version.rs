//! What this program is.

/// Version of the program.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Commit it was built from; empty where the build did not say.
pub(crate) const REVISION: &str = match option_env!("PORTOLAN_REVISION") {
    Some(revision) => revision,
    None => "",
};

/// When it was built, in RFC 3339; empty where the build did not say.
const BUILD_TIME: &str = match option_env!("PORTOLAN_BUILD_TIME") {
    Some(time) => time,
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

/// What `/version` says, in Joyride's words.
pub(crate) fn document() -> String {
    let or_unknown = |text: &'static str| if text.is_empty() { "unknown" } else { text };
    let told = Told {
        version: VERSION,
        git_commit: or_unknown(REVISION),
        build_time: or_unknown(BUILD_TIME),
    };
    // Strings always have a JSON form.
    serde_json::to_string(&told).unwrap_or_default() + "\n"
}

/// The fields of `/version`.
#[derive(serde::Serialize)]
struct Told {
    /// Version of the program.
    version: &'static str,
    /// Commit it was built from.
    git_commit: &'static str,
    /// When it was built.
    build_time: &'static str,
}
