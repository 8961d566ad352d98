//! `portolan flush` and `POST /cache/flush`: names are asked about again.

use anyhow::ensure;
use hickory_proto::rr::RecordType;
use portolan_proto::Rtype;
use portolan_testkit::process::Signal;
use portolan_testkit::upstream::FakeUpstream;
use portolan_testkit::upstream::Received;
use portolan_testkit::upstream::Reply;

use super::site::Site;
use super::site::run;
use crate::observe::http;

/// A server with a cache, and its upstream.
async fn start(cache: &str) -> anyhow::Result<(Site, FakeUpstream)> {
    let upstream = FakeUpstream::start(|query| match query.qtype {
        Rtype::A => Reply::to(query).a([192, 0, 2, 1], 600).send(),
        _ => Reply::to(query).soa(600, 600).send(),
    })
    .await?;
    let corefile = format!(
        ".:@dns {{\n bind 127.0.0.1\n health 127.0.0.1:@health\n \
         prometheus 127.0.0.1:@metrics\n forward . {}\n {cache}\n}}\n",
        upstream.addr()
    );
    Ok((Site::start(&corefile)?, upstream))
}

/// Names and types that are asked for.
const ASKED: [(&str, RecordType); 4] = [
    ("example", RecordType::A),
    ("a.example", RecordType::A),
    ("a.example", RecordType::TXT),
    ("b.a.example", RecordType::A),
];

/// Asks for all and gives those that the upstream was asked for.
fn asked_again(
    site: &Site,
    upstream: &FakeUpstream,
) -> anyhow::Result<Vec<(&'static str, RecordType)>> {
    let mut again = Vec::new();
    for (name, qtype) in ASKED {
        let count = || {
            let queries = upstream.queries().into_iter();
            let same = |query: &Received| {
                query.qname.to_string() == format!("{name}.") && query.qtype.0 == u16::from(qtype)
            };
            queries.filter(same).count()
        };
        let before = count();
        site.ports.client().query(name, qtype)?;
        if count() > before {
            again.push((name, qtype));
        }
    }
    Ok(again)
}

#[tokio::test(flavor = "multi_thread")]
async fn names_are_flushed_over_http() -> anyhow::Result<()> {
    let (site, upstream) = start("cache").await?;
    let [_, a, txt, below] = ASKED;
    ensure!(asked_again(&site, &upstream)? == ASKED);
    ensure!(asked_again(&site, &upstream)?.is_empty());
    for (query, flushed, expected) in [
        ("name=A.Example", 2, &[a, txt][..]),
        ("name=a.example&type=TXT", 1, &[txt]),
        ("name=a.example&below=true", 3, &[a, txt, below]),
        ("name=.&below=true", 4, &ASKED),
        ("name=other.example", 0, &[]),
    ] {
        let path = format!("/cache/flush?{query}");
        let answer = http::request(site.ports.health, "POST", &path, &["Content-Length: 0"])?;
        ensure!(answer.status == 200, "{query}: {answer:?}");
        let body: serde_json::Value = serde_json::from_slice(&answer.body)?;
        ensure!(body["flushed"] == flushed, "{query}: {body}");
        let again = asked_again(&site, &upstream)?;
        ensure!(again == expected, "{query}: {again:?}");
    }
    let size = site.metric("portolan_cache_size_bytes")?;
    ensure!((400.0..4_000.0).contains(&size), "{size} for four entries");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_order_flushes_nothing() -> anyhow::Result<()> {
    let (site, upstream) = start("cache").await?;
    asked_again(&site, &upstream)?;
    let port = site.ports.health;
    for (method, query, fields, status) in [
        ("GET", "name=.&below=true", &[][..], 405),
        ("POST", "", &["Content-Length: 0"], 400),
        ("POST", "name=.&below=yes", &["Content-Length: 0"], 400),
        (
            "POST",
            "name=a.example&type=NOPE",
            &["Content-Length: 0"],
            400,
        ),
        (
            "POST",
            "name=.&below=true",
            &["Content-Length: 0", "Origin: http://example.org"],
            403,
        ),
    ] {
        let path = format!("/cache/flush?{query}");
        let answer = http::request(port, method, &path, fields)?;
        ensure!(answer.status == status, "{method} {query}: {answer:?}");
    }
    let metrics = site.ports.metrics;
    let elsewhere = http::request(metrics, "POST", "/cache/flush?name=.", &[])?;
    ensure!(elsewhere.status == 404, "{elsewhere:?}");
    ensure!(asked_again(&site, &upstream)?.is_empty());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn names_are_flushed_from_the_command_line() -> anyhow::Result<()> {
    let (site, upstream) = start("cache").await?;
    asked_again(&site, &upstream)?;
    let address = format!("127.0.0.1:{}", site.ports.health);
    let flush = |arguments: &[&str]| run(&[&["flush"], arguments].concat(), &[]);
    for (arguments, output, expected) in [
        (
            &["a.example", &address, "--type", "a"][..],
            "1 entry forgotten\n",
            1,
        ),
        (&[".", &address, "--below"], "4 entries forgotten\n", 4),
    ] {
        let ended = flush(arguments)?;
        ended.ensure_code(0)?;
        ensure!(ended.stdout == output, "{arguments:?}: {ended:?}");
        let again = asked_again(&site, &upstream)?.len();
        ensure!(again == expected, "{arguments:?}: {again}");
    }
    let ended = flush(&["a.example", &address, "--json"])?;
    let body: serde_json::Value = serde_json::from_str(&ended.stdout)?;
    ensure!(
        body["name"] == "a.example." && body["flushed"] == 2,
        "{body}"
    );
    for (arguments, message) in [
        (&["a..example", &address][..], "name: "),
        (&["a.example", &address, "--type", "nope"], "type: "),
        (&["a.example", "127.0.0.1:9"], "cannot connect"),
    ] {
        let ended = flush(arguments)?;
        ended.ensure_code(1)?;
        ensure!(ended.stderr.contains(message), "{arguments:?}: {ended:?}");
    }
    flush(&[])?.ensure_code(2)?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_flushes_only_when_it_was_asked_to() -> anyhow::Result<()> {
    for (cache, flushes) in [("cache", false), ("cache {\n flush_on_reload\n }", true)] {
        let (site, upstream) = start(cache).await?;
        asked_again(&site, &upstream)?;
        for number in 1..=2 {
            site.process.signal(Signal::SIGHUP)?;
            site.await_count("Reloading complete", number)?;
            let again = asked_again(&site, &upstream)?;
            let expected = if flushes { ASKED.len() } else { 0 };
            ensure!(again.len() == expected, "{cache}: {again:?}");
        }
    }
    Ok(())
}
