//! Whether the process is what a container consists of.
//!
//! Somebody who starts the program by hand as root, on a host or in a shell of
//! a container, does not expect it to become somebody else. Where the program
//! is all that a container runs, nobody is there to say so, and root is likely
//! just the default.

use std::path::Path;

use nix::unistd::{Pid, getppid};

/// Whether a container runs this process and nothing else but its init.
pub(crate) fn is_main_process() -> bool {
    let marked = MARKS.iter().any(|mark| Path::new(mark).exists());
    is_main(Pid::this().as_raw(), getppid().as_raw(), marked)
}

/// Decides by the numbers of the process and of its parent, and by whether the
/// runtime has left a mark.
fn is_main(pid: i32, parent: i32, marked: bool) -> bool {
    // Not every runtime leaves a mark, but outside of containers the first
    // process is the init of the host. `docker run --init` puts one before us.
    pid == 1 || (marked && parent == 1)
}

/// Files by which Docker and Podman mark a container.
const MARKS: [&str; 2] = ["/.dockerenv", "/run/.containerenv"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_process_and_the_child_of_a_container_s_init_are_main() {
        for (pid, parent, marked, expected) in [
            (1, 0, false, true),
            (1, 0, true, true),
            (7, 1, true, true),
            // A service of the host's init.
            (700, 1, false, false),
            // Somebody's shell, on a host and in a container.
            (700, 600, false, false),
            (700, 600, true, false),
            // `docker exec`
            (700, 0, true, false),
        ] {
            assert_eq!(
                is_main(pid, parent, marked),
                expected,
                "{pid} {parent} {marked}"
            );
        }
    }
}
