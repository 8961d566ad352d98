//! Which queries are logged, and in which format.

use std::time::Duration;

use anyhow::ensure;
use hickory_proto::rr::RecordType;
use portolan_proto::Rcode;
use portolan_testkit::process::pause;
use portolan_testkit::upstream::FakeUpstream;
use portolan_testkit::upstream::Reply;

use crate::cli::site::Site;

/// Asks one query of each class, then waits until the last line would be
/// there: the names that were logged.
fn logged(site: &Site) -> anyhow::Result<Vec<&'static str>> {
    let names = [
        "ok.example",
        "nodata.example",
        "nx.example",
        "fail.example",
        "refused.example",
    ];
    for name in names {
        site.ports.client().query(name, RecordType::A)?;
    }
    pause(Duration::from_millis(150));
    let output = site.output();
    Ok(names
        .into_iter()
        .filter(|name| output.contains(&format!(" {name}. ")))
        .collect())
}

/// An upstream with a name of each class.
async fn upstream() -> anyhow::Result<FakeUpstream> {
    FakeUpstream::start(|query| {
        let reply = Reply::to(query);
        match query.qname.to_string().as_str() {
            "ok.example." => reply.a([192, 0, 2, 9], 60).send(),
            "nodata.example." => reply.soa(60, 60).send(),
            "nx.example." => reply.rcode(Rcode::NXDOMAIN).soa(60, 60).send(),
            "fail.example." => reply.rcode(Rcode::SERVFAIL).send(),
            _ => reply.rcode(Rcode::REFUSED).send(),
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn classes_choose_the_responses_that_are_logged() -> anyhow::Result<()> {
    let upstream = upstream().await?;
    for (log, expected) in [
        (
            "log",
            &[
                "ok.example",
                "nodata.example",
                "nx.example",
                "fail.example",
                "refused.example",
            ][..],
        ),
        ("log . {\n class success\n }", &["ok.example"]),
        (
            "log {\n class denial\n }",
            &["nodata.example", "nx.example"],
        ),
        (
            "log {\n class error\n }",
            &["fail.example", "refused.example"],
        ),
        (
            "log . {\n class denial error\n }",
            &[
                "nodata.example",
                "nx.example",
                "fail.example",
                "refused.example",
            ],
        ),
        (
            "log . {\n class denial\n class success\n }",
            &["ok.example", "nodata.example", "nx.example"],
        ),
        (
            "log {\n class all\n }",
            &[
                "ok.example",
                "nodata.example",
                "nx.example",
                "fail.example",
                "refused.example",
            ],
        ),
        ("errors", &[]),
    ] {
        let site = Site::start(&format!(
            ".:@dns {{\n bind 127.0.0.1\n {log}\n forward . {}\n}}\n",
            upstream.addr()
        ))?;
        let found = logged(&site)?;
        ensure!(found == expected, "{log}: {found:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_rule_with_the_name_decides() -> anyhow::Result<()> {
    let upstream = upstream().await?;
    let site = Site::start(&format!(
        r#".:@dns {{
    bind 127.0.0.1
    log OK.example nodata.example "first {{name}} {{type}} {{rcode}} {{>opcode}} {{local}} {{/forward/upstream}} {{/log/class}} {{/log/type}} {{/none}} {{unknown}}" {{
        class success
    }}
    log nx.example {{combined}}
    log fail.example "{{common}} and more"
    forward . {}
}}
"#,
        upstream.addr()
    ))?;
    let names = [
        "ok.example",
        "sub.ok.example",
        "nodata.example",
        "nx.example",
        "fail.example",
        "refused.example",
    ];
    for name in names {
        site.ports.client().query(name, RecordType::A)?;
    }
    let up = upstream.addr();
    site.process.wait_for_line("and more")?;
    let expected = format!(
        "[INFO] first ok.example. A NOERROR 0 127.0.0.1 {up} success NOERROR - {{unknown}}"
    );
    ensure!(
        site.process.lines().contains(&expected),
        "{expected}\n{}",
        site.output()
    );
    // A rule is for all names below its own; its classes do not make the
    // next rule be tried.
    ensure!(site.count("first ") == 1, "{}", site.output());
    let combined = site.line(" nx.example. ").unwrap_or_default();
    ensure!(
        combined.starts_with("[INFO] 127.0.0.1:") && combined.ends_with("s \"0\""),
        "{combined}"
    );
    let common = site.line(" fail.example. ").unwrap_or_default();
    ensure!(common.ends_with("s and more"), "{common}");
    ensure!(site.count(" refused.example. ") == 0, "{}", site.output());
    Ok(())
}
