//! The `portolan` binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    return_memory();
    portolan_daemon::main()
}

/// Has the allocator return large pieces of memory as soon as they are free.
///
/// That of glibc begins so, but with each such piece it takes larger ones to
/// be worth keeping, up to 32 MiB: reading a hosts file of 100,000 names a few
/// times left three times the memory that they take. And what it begins with,
/// 128 KiB, is more than any response has: a burst of large ones left as much
/// memory behind as it had taken at its peak. Other C libraries need not be
/// told.
fn return_memory() {
    #[cfg(target_env = "gnu")]
    {
        #[expect(unsafe_code, reason = "the C library has no safe interface")]
        // SAFETY: the call changes how memory is obtained from now on, and
        // there is no other thread yet.
        let set = unsafe { libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE) };
        debug_assert_eq!(set, 1, "the size is one that glibc takes");
    }
}

/// What is large, in octets: what no ordinary query takes, for such a piece
/// costs two system calls (mallopt(3)).
#[cfg(target_env = "gnu")]
const LARGE: libc::c_int = 32 * 1024;
