//! The machine, and where on it programs run.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;

/// A core, where there are two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Core {
    /// The first. knotd moves there by itself, whatever it is told.
    First,
    /// The second.
    Second,
    /// Whichever the kernel likes.
    Any,
}

/// A program and the arguments that bind it to a core, where that can be
/// done.
pub(crate) fn on(core: Core, program: &str) -> Vec<String> {
    let number = match core {
        Core::First if binds() => Some("0"),
        Core::Second if binds() => Some("1"),
        _ => None,
    };
    let binding = number.map(|number| ["taskset", "-c", number]);
    let words = binding.into_iter().flatten().chain([program]);
    words.map(str::to_owned).collect()
}

/// Whether programs are bound to cores.
fn binds() -> bool {
    cores() > 1 && has("taskset")
}

/// Whether a program is in one of the usual directories.
pub(crate) fn has(program: &str) -> bool {
    DIRECTORIES
        .iter()
        .any(|directory| Path::new(directory).join(program).exists())
}

/// Says what the machine is, what runs on it, and how busy it is.
pub(crate) fn describe() -> Vec<String> {
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let information = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = information
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or("unknown processor", |(_, model)| model);
    let mut lines = vec![format!(
        "{model}, {} cores, Linux {}",
        cores(),
        kernel.trim()
    )];
    lines.push(if binds() {
        "the server under test has one core, the client the other".to_owned()
    } else {
        "programs are not bound to cores: that takes two cores and taskset".to_owned()
    });
    lines.extend(version("date", "+%F"));
    for (program, flag) in VERSIONS {
        lines.push(match version(program, flag) {
            Some(version) => format!("{program}: {version}"),
            None => format!("{program}: not installed, left out"),
        });
    }
    lines.push(load("before"));
    lines
}

/// How busy the machine is.
pub(crate) fn load(when: &str) -> String {
    let average = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let minute = average.split(' ').next().unwrap_or("unknown").to_owned();
    format!("load average of the last minute {when}: {minute}")
}

/// The line in which a program says its version.
fn version(program: &str, flag: &str) -> Option<String> {
    let output = Command::new(program)
        .arg(flag)
        .env("PATH", DIRECTORIES.join(":"))
        .output()
        .ok()?;
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    text.lines()
        .find(|line| line.contains(|letter: char| letter.is_ascii_digit()))
        .map(|line| line.trim().to_owned())
}

/// How many cores there are.
fn cores() -> usize {
    thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// Where programs are.
const DIRECTORIES: [&str; 6] = [
    "/usr/local/sbin",
    "/usr/local/bin",
    "/usr/sbin",
    "/usr/bin",
    "/sbin",
    "/bin",
];

/// The programs that take part, and what makes them say their version.
const VERSIONS: [(&str, &str); 7] = [
    ("dnsmasq", "--version"),
    ("knotd", "--version"),
    ("nsd", "-v"),
    ("unbound", "-V"),
    ("named", "-v"),
    ("dnsdist", "--version"),
    ("pdns_recursor", "--version"),
];
