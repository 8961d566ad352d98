//! Lines of the `errors` directive.

use std::net::UdpSocket;
use std::time::Duration;

use anyhow::ensure;
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;
use portolan_proto::Rcode;
use portolan_testkit::process::pause;
use portolan_testkit::upstream::FakeUpstream;
use portolan_testkit::upstream::Reply;

use crate::cli::site::Site;
use crate::cli::site::ensure_rcode;

/// A server whose upstream fails.
fn corefile(upstream: &str, errors: &str) -> String {
    format!(
        ".:@dns {{
    bind 127.0.0.1
    {errors}
    forward . {upstream} {{
        max_fails 0
        read_timeout 200ms
        max_connect_attempts 1
    }}
}}
"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_time_out_is_told_in_the_words_of_coredns() -> anyhow::Result<()> {
    let upstream = FakeUpstream::black_hole().await?;
    let site = Site::start(&corefile(&upstream.addr().to_string(), "errors"))?;
    let response = site.ports.client().query("Example.ORG", RecordType::A)?;
    ensure_rcode(&response, ResponseCode::ServFail)?;
    let line = site.process.wait_for_line("plugin/errors: ")?;
    let text = line.strip_prefix("[ERROR] plugin/errors: 2 example.org. A: read udp 127.0.0.1:");
    let end = format!("->{}: i/o timeout", upstream.addr());
    let port = text.and_then(|text| text.strip_suffix(&end));
    ensure!(
        port.is_some_and(|port| port.parse::<u16>().is_ok()),
        "{line}"
    );
    ensure!(site.count("plugin/errors") == 1, "{}", site.output());
    Ok(())
}

#[test]
fn a_refused_connection_is_told() -> anyhow::Result<()> {
    // A port that nobody has, and nobody else gets meanwhile.
    let holder = UdpSocket::bind("127.0.0.2:0")?;
    let closed = format!("127.0.0.1:{}", holder.local_addr()?.port());
    for (format, expected) in [
        (
            "text",
            "[ERROR] plugin/errors: 2 x.example. AAAA: read udp ",
        ),
        ("json", "\"msg\":\"2 x.example. AAAA: read udp "),
    ] {
        let site = Site::start_with(&corefile(&closed, "errors stdout"), |launch, _| {
            launch.args(["-log-format", format])
        })?;
        site.ports.client().query("x.example", RecordType::AAAA)?;
        let line = site.process.wait_for_line("x.example. AAAA")?;
        ensure!(line.contains(expected), "{line}");
        ensure!(
            line.contains(&format!("->{closed}: read: connection refused")),
            "{line}"
        );
        if format == "json" {
            let value: serde_json::Value = serde_json::from_str(&line)?;
            ensure!(
                value["level"] == "ERROR" && value["plugin"] == "errors",
                "{line}"
            );
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn why_an_upstream_is_down_is_told() -> anyhow::Result<()> {
    let holder = UdpSocket::bind("127.0.0.2:0")?;
    let closed = format!("127.0.0.1:{}", holder.local_addr()?.port());
    let silent = FakeUpstream::black_hole().await?;
    let broken =
        FakeUpstream::start(|query| Reply::to(query).rcode(Rcode::SERVFAIL).send()).await?;
    for (upstream, cause) in [
        (closed, "connection refused"),
        (silent.addr().to_string(), "i/o timeout"),
        (broken.addr().to_string(), "upstream answered SERVFAIL"),
    ] {
        let site = Site::start(&format!(
            ".:@dns {{
    bind 127.0.0.1
    forward . {upstream} {{
        max_fails 1
        health_check 50ms strict
        read_timeout 200ms
    }}
}}
"
        ))?;
        site.ports.client().query("x.example", RecordType::A)?;
        let line = site.process.wait_for_line("upstream is down")?;
        ensure!(line.contains(&upstream) && line.contains(cause), "{line}");
    }
    Ok(())
}

#[test]
fn a_query_that_no_stage_takes_is_told() -> anyhow::Result<()> {
    let site = Site::start(
        ".:@dns {\n bind 127.0.0.1\n errors\n hosts {\n 192.0.2.1 a.example\n fallthrough\n }\n}\n",
    )?;
    let response = site.ports.client().query("b.example", RecordType::A)?;
    ensure_rcode(&response, ResponseCode::ServFail)?;
    site.process
        .wait_for_line("[ERROR] plugin/errors: 2 b.example. A: ")?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn similar_errors_are_counted_and_summed_up() -> anyhow::Result<()> {
    let upstream = FakeUpstream::black_hole().await?;
    let errors = "errors {
        consolidate 1s \".* i/o timeout$\" warning show_first
        consolidate 1h \"never matches\"
    }";
    let site = Site::start(&corefile(&upstream.addr().to_string(), errors))?;
    for number in 0..3 {
        site.ports
            .client()
            .query(&format!("n{number}.example"), RecordType::A)?;
    }
    let line = site.process.wait_for_line("errors like")?;
    let expected = "[WARNING] plugin/errors: 3 errors like '.* i/o timeout$' occurred in last 1s";
    ensure!(line == expected, "{line}");
    let first = site.line("n0.example.").unwrap_or_default();
    ensure!(
        first.starts_with("[WARNING] plugin/errors: 2 n0.example. A: "),
        "{first}"
    );
    ensure!(site.count("n1.example.") == 0, "{}", site.output());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn open_windows_are_summed_up_at_the_end() -> anyhow::Result<()> {
    let upstream = FakeUpstream::black_hole().await?;
    let errors = "errors {\n consolidate 1h \"i/o timeout\" error\n }";
    let mut site = Site::start(&corefile(&upstream.addr().to_string(), errors))?;
    site.ports.client().query("a.example", RecordType::A)?;
    pause(Duration::from_millis(100));
    ensure!(site.count("plugin/errors") == 0, "{}", site.output());
    site.end()?;
    let line = site.line("errors like").unwrap_or_default();
    let expected = "[ERROR] plugin/errors: 1 errors like 'i/o timeout' occurred in last 1h0m0s";
    ensure!(line == expected, "{line}");
    Ok(())
}
