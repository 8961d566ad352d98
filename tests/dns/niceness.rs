//! Who yields to whom, where threads share a core.

use std::collections::BTreeMap;
use std::fs;

use anyhow::Context as _;
use anyhow::bail;
use anyhow::ensure;
use portolan_testkit::process::wait_for;

use super::server::Server;

#[test]
fn threads_that_answer_go_before_those_that_read_sources() -> anyhow::Result<()> {
    // A file is read in a thread that one of those starts that yield.
    let corefile = ".:PORT {\n hosts hosts {\n fallthrough\n }\n forward . 127.0.0.1:9\n}\n";
    let server = Server::with_hosts(corefile, "192.0.2.1 local.test\n")?;
    let seen = wait_for(|| {
        let seen = threads(server.process().pid()).ok()?;
        let has = |name: &str| seen.keys().any(|it| it.starts_with(name));
        let (control, own) = (seen.get("control")?, seen.get("portolan")?.first()?);
        let yields = control.iter().all(|it| it > own);
        (has("query") && has("udp") && control.len() > 1 && yields).then_some(seen)
    });
    let seen = seen.context("no such threads, or none yields")?;
    let own = seen.get("portolan").context("no first thread")?;
    let [own] = own.as_slice() else {
        bail!("{seen:?}");
    };
    // What tells of changes of files is as nice as the thread that starts it.
    for (name, niceness) in seen.iter().filter(|(name, _)| !name.starts_with("notify")) {
        let expected = if name == "control" { own + 10 } else { *own };
        ensure!(niceness.iter().all(|it| *it == expected), "{seen:?}");
    }
    Ok(())
}

/// How nice the threads of a process are, by name.
fn threads(pid: u32) -> anyhow::Result<BTreeMap<String, Vec<i32>>> {
    let mut seen: BTreeMap<String, Vec<i32>> = BTreeMap::new();
    for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
        let path = thread?.path();
        let name = fs::read_to_string(path.join("comm"))?.trim().to_owned();
        let niceness = niceness(&fs::read_to_string(path.join("stat"))?)?;
        seen.entry(name).or_default().push(niceness);
    }
    Ok(seen)
}

/// The nice value in a line of `/proc/PID/stat` (proc(5), field 19).
fn niceness(stat: &str) -> anyhow::Result<i32> {
    // The name of a thread may hold anything.
    let (_, rest) = stat.rsplit_once(") ").context("no name")?;
    let field = rest.split(' ').nth(16).context("no such field")?;
    Ok(field.parse()?)
}
