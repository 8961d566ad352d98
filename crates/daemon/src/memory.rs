//! How much memory the process may have.
//!
//! A container has less than its host, and is killed when it takes more. The
//! limits are those of its control groups, of either version; a group is
//! within another, whose limit holds as well.

use std::fs;
use std::path::Path;

/// Where control groups are.
const GROUPS: &str = "/sys/fs/cgroup";

/// Octets of memory that the process may have: the least limit of its control
/// groups, or what the machine has. `None` if nobody says.
pub(crate) fn limit() -> Option<u64> {
    let of_groups = fs::read_to_string("/proc/self/cgroup")
        .ok()
        .and_then(|groups| of_groups(&groups, Path::new(GROUPS)));
    let of_machine = fs::read_to_string("/proc/meminfo")
        .ok()
        .and_then(|text| of_machine(&text));
    of_groups.into_iter().chain(of_machine).min()
}

/// The least limit of the groups in the form of /proc/PID/cgroup
/// (`cgroups(7)`).
fn of_groups(groups: &str, root: &Path) -> Option<u64> {
    let mut least: Option<u64> = None;
    for line in groups.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else {
            continue;
        };
        let (root, file) = if controllers.is_empty() {
            (root.to_owned(), "memory.max")
        } else if controllers.split(',').any(|name| name == "memory") {
            (root.join("memory"), "memory.limit_in_bytes")
        } else {
            continue;
        };
        // A container may see the path of the host, and its own group at the
        // root.
        let group = Path::new(path.trim_start_matches('/'));
        for group in group.ancestors() {
            let limit = fs::read_to_string(root.join(group).join(file))
                .ok()
                .and_then(|text| text.trim().parse().ok());
            least = least.into_iter().chain(limit).min();
        }
    }
    least
}

/// What the machine has, in the form of /proc/meminfo.
fn of_machine(text: &str) -> Option<u64> {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    #[test]
    fn the_least_limit_of_the_groups_holds() {
        for (groups, files, expected) in [
            ("0::/a/b\n", &[("a/b/memory.max", "max\n")][..], None),
            (
                "0::/a/b\n",
                &[("a/b/memory.max", "52428800\n")],
                Some(52_428_800),
            ),
            (
                "0::/a/b\n",
                &[("a/b/memory.max", "900\n"), ("a/memory.max", "800\n")],
                Some(800),
            ),
            // In a container whose group looks like the root.
            ("0::/\n", &[("memory.max", "700\n")], Some(700)),
            (
                "9:cpu,cpuacct:/x\n4:memory:/docker/1\n0::/\n",
                &[
                    ("memory/docker/1/memory.limit_in_bytes", "600\n"),
                    ("memory/memory.limit_in_bytes", "9223372036854771712\n"),
                    ("cpu/x/memory.limit_in_bytes", "1\n"),
                ],
                Some(600),
            ),
            // The path is that of the host, the group is not.
            (
                "4:memory:/docker/1\n",
                &[("memory/memory.limit_in_bytes", "500\n")],
                Some(500),
            ),
            ("nonsense\n4:memory\n", &[], None),
        ] {
            let root = TempDir::new().unwrap();
            for (name, text) in files {
                let path = root.path().join(name);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, text).unwrap();
            }
            assert_eq!(of_groups(groups, root.path()), expected, "{groups}");
        }
    }

    #[test]
    fn a_machine_has_what_it_says() {
        let text = "MemTotal:       24684956 kB\nMemFree: 1 kB\n";
        assert_eq!(of_machine(text), Some(24_684_956 * 1024));
        assert_eq!(of_machine("MemFree: 1 kB\n"), None);
        assert!(limit().is_some_and(|limit| limit > 1 << 20));
    }
}
