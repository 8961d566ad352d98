//! `portolan check`, and the files that we ship.

use std::fs;
use std::path::Path;

use anyhow::Context as _;
use anyhow::ensure;
use hickory_proto::rr::RecordType;
use portolan_testkit::process::wait_for;

use super::site::Ports;
use super::site::run;
use crate::support::portolan;

#[test]
fn a_valid_file_shows_the_order_of_its_stages() -> anyhow::Result<()> {
    let corefile = ".:5311 {
    whoami
    forward . 127.0.0.1:5399
    cache 30
    docker-cluster {
        host_ip 192.0.2.1
        fallthrough
    }
    hosts {
        fallthrough
    }
}
";
    let ended = run(&["check", "good"], &[("good", corefile)])?;
    ended.ensure_code(0)?;
    ensure!(ended.stdout.starts_with("good: valid\n"), "{ended:?}");
    let stages: Vec<&str> = ended
        .stdout
        .lines()
        .filter_map(|line| {
            line.split_once(". ")
                .filter(|(number, _)| number.trim().parse::<u8>().is_ok())
        })
        .filter_map(|(_, rest)| rest.split_whitespace().next())
        .collect();
    ensure!(
        stages == ["hosts", "docker-cluster", "cache", "forward", "whoami"],
        "{}",
        ended.stdout
    );
    ensure!(ended.stdout.contains("good:9:5"), "{}", ended.stdout);
    Ok(())
}

#[test]
fn stages_that_no_query_reaches_are_warned_about() -> anyhow::Result<()> {
    let corefile = ".:5311 {
    docker-cluster {
        host_ip 192.0.2.1
    }
    forward . 127.0.0.1:5399
    cache 30
}
";
    let ended = run(&["check", "Corefile"], &[("Corefile", corefile)])?;
    ended.ensure_code(0)?;
    for (stage, place) in [("forward", "Corefile:5:5"), ("cache", "Corefile:6:5")] {
        let told = ended.stderr.lines().any(|line| {
            line.contains(place) && line.contains(&format!("'{stage}' is never reached"))
        });
        ensure!(told, "{stage}: {ended:?}");
        let shown = ended.stdout.lines().any(|line| {
            line.contains(stage) && line.contains(place) && line.contains("never reached")
        });
        ensure!(shown, "{stage}: {ended:?}");
    }
    Ok(())
}

#[test]
fn a_file_with_mistakes_is_refused_with_all_of_them() -> anyhow::Result<()> {
    let files = [
        ("bad", ". {\n whoamii\n}\n"),
        ("Corefile", "a {\n hostss\n cachee\n}\n"),
    ];
    let ended = run(&["check", "bad"], &files)?;
    ended.ensure_code(1)?;
    ensure!(
        ended.stderr.starts_with("bad:2:2 - Error during parsing: "),
        "{ended:?}"
    );
    // Without a name it is the file that would be served.
    let ended = run(&["check"], &files)?;
    ended.ensure_code(1)?;
    ensure!(ended.stderr.lines().count() == 2, "{ended:?}");
    let ended = run(&["check", "-conf", "bad"], &files)?;
    ended.ensure_code(1)?;
    ensure!(ended.stderr.starts_with("bad:2:2"), "{ended:?}");
    let ended = run(&["check", "missing"], &files)?;
    ended.ensure_code(1)?;
    ensure!(
        ended
            .stderr
            .contains("open missing: no such file or directory"),
        "{ended:?}"
    );
    Ok(())
}

#[test]
fn what_a_file_has_does_not_steer_the_terminal() -> anyhow::Result<()> {
    let corefile = ".:5399 {\n \u{1b}[31mfoo\u{1b}]0;owned\u{7} x\n}\n";
    let ended = run(&["check", "bad"], &[("bad", corefile)])?;
    ended.ensure_code(1)?;
    ensure!(ended.stderr.contains("[31mfoo"), "{ended:?}");
    let is_obeyed = |c: char| c.is_control() && c != '\n';
    ensure!(!ended.stderr.contains(is_obeyed), "{ended:?}");
    Ok(())
}

#[test]
fn the_built_in_configuration_is_valid() -> anyhow::Result<()> {
    let ended = run(&["check"], &[])?;
    ended.ensure_code(0)?;
    ensure!(ended.stderr.is_empty(), "{ended:?}");
    ensure!(ended.stdout.contains(".:54 "), "{ended:?}");
    Ok(())
}

#[test]
fn corefile_example_is_valid_and_without_warnings() -> anyhow::Result<()> {
    let path = root().join("Corefile.example");
    let ended = run(&["check", &path.to_string_lossy()], &[])?;
    ended.ensure_code(0)?;
    ensure!(ended.stderr.is_empty(), "{ended:?}");
    Ok(())
}

#[test]
fn every_example_of_the_documentation_is_valid() -> anyhow::Result<()> {
    let mut count = 0;
    let mut pages: Vec<_> = fs::read_dir(root().join("docs"))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    pages.push(root().join("README.md"));
    for page in pages {
        let text = fs::read_to_string(&page)?;
        for (kind, example) in examples(&text) {
            let name = if kind == "toml" {
                "example.toml"
            } else {
                "Corefile"
            };
            let ended = run(&["check", name], &[(name, &example)])?;
            ensure!(
                ended.code == Some(0),
                "{}:\n{example}\n{ended:?}",
                page.display()
            );
            count += 1;
        }
    }
    ensure!(count >= 15, "only {count} examples were found");
    Ok(())
}

#[test]
fn a_configuration_in_toml_is_checked_and_served() -> anyhow::Result<()> {
    let ports = Ports::choose();
    let toml = ports.fill(
        r#"[[server]]
zones = ["."]
port = @dns
bind = "127.0.0.1"
health = { address = "127.0.0.1:@health" }

[server.hosts]
inline = ["192.0.2.1 a.example"]
files = ["/dev/null"]
ttl = 77
"#,
    );
    let ended = run(&["check", "portolan.toml"], &[("portolan.toml", &toml)])?;
    ended.ensure_code(0)?;
    ensure!(
        ended.stdout.starts_with("portolan.toml: valid\n"),
        "{ended:?}"
    );

    let process = portolan()
        .file("portolan.toml", &toml)
        .args(["--config", "portolan.toml"])
        .start()?;
    process.wait_for_line("Portolan-")?;
    ports.await_address("a.example", [192, 0, 2, 1])?;
    let response = ports.client().query("a.example", RecordType::A)?;
    ensure!(response.answers[0].ttl == 77, "{response:?}");
    wait_for(|| crate::observe::http::get(ports.health, "/health").ok()).context("no health")?;
    Ok(())
}

/// The root of the repository.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The examples in a page: their kind, and their text.
fn examples(page: &str) -> Vec<(&str, String)> {
    let mut found = Vec::new();
    let mut open: Option<(&str, String)> = None;
    for line in page.lines() {
        match (&mut open, line.trim_start().strip_prefix("~~~")) {
            (Some(_), Some(_)) => found.extend(open.take()),
            (None, Some(kind)) => open = Some((kind.trim(), String::new())),
            (Some((_, text)), None) => {
                text.push_str(line);
                text.push('\n');
            }
            (None, None) => {}
        }
    }
    found.retain(|(kind, _)| matches!(*kind, "corefile" | "toml"));
    found
}
