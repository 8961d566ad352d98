//! What labels can say.

use anyhow::ensure;
use hickory_proto::rr::RData;
use hickory_proto::rr::RecordType;

use super::engine::Engine;
use super::engine::names_label;
use super::server::HOST_IP;
use super::server::Server;
use super::server::addresses;
use super::server::ensure_no_data;
use super::server::ips;
use super::upstream::OUTSIDE;
use super::upstream::Upstream;

/// Names that are not there come from the upstream.
const COREFILE: &str = "\
.:DNS_PORT {
    docker-cluster {
        docker_socket unix:///var/run/docker.sock
        host_ip 192.168.16.61
        label NAMES_LABEL
        fallthrough
    }
    forward . UPSTREAM
}
";

#[test]
fn names_come_in_many_spellings() -> anyhow::Result<()> {
    let Some(engine) = Engine::of_this_machine()? else {
        return Ok(());
    };
    let _app = engine.run_named(
        "plain.example.org dot.example.org.\tUPPER.example.org\n\
         under_score.example.org,, ,comma.example.org , bücher.example.org single",
    )?;
    let (server, _upstream) = start()?;
    for name in [
        "plain.example.org",
        "dot.example.org",
        "upper.example.org",
        "UPPER.EXAMPLE.ORG",
        "under_score.example.org",
        "comma.example.org",
        "xn--bcher-kva.example.org",
        "single",
    ] {
        server.await_host(name)?;
    }
    let complaints = server.count_lines("cannot be used");
    ensure!(complaints == 0, "{}", server.output());
    Ok(())
}

#[test]
fn a_wildcard_answers_for_what_is_below_it() -> anyhow::Result<()> {
    let Some(engine) = Engine::of_this_machine()? else {
        return Ok(());
    };
    let _wild = engine.run_named("*.w.ilude.com")?;
    let _exact = engine.run_labelled(&[
        (&names_label(), "exact.w.ilude.com"),
        ("portolan.target", "192.0.2.9"),
    ])?;
    let (server, _upstream) = start()?;
    server.await_host("any.w.ilude.com")?;
    server.await_host("deep.er.w.ilude.com")?;
    server.await_addresses("exact.w.ilude.com", &["192.0.2.9"])?;
    ensure_no_data(&server.udp().query("any.w.ilude.com", RecordType::AAAA)?)?;
    // RFC 4592 §2.2.1: a name that exists stops the wildcard below it, and a
    // wildcard is not its own parent.
    for name in ["below.exact.w.ilude.com", "w.ilude.com"] {
        let found = server.addresses(name)?;
        ensure!(!found.contains(&HOST_IP.into()), "{name}: {found:?}");
    }
    Ok(())
}

#[test]
fn targets_and_ttls_can_be_chosen() -> anyhow::Result<()> {
    let Some(engine) = Engine::of_this_machine()? else {
        return Ok(());
    };
    let _app = engine.run_labelled(&[
        (&names_label(), "app.example.org"),
        ("portolan.target", "192.0.2.7, 2001:db8::7"),
        ("portolan.ttl", "17"),
    ])?;
    let (server, _upstream) = start()?;
    server.await_addresses("app.example.org", &["192.0.2.7"])?;
    for (qtype, address) in [
        (RecordType::A, "192.0.2.7"),
        (RecordType::AAAA, "2001:db8::7"),
    ] {
        let response = server.udp().query("app.example.org", qtype)?;
        ensure!(addresses(&response) == ips(&[address])?, "{response:?}");
        ensure!(response.answers[0].ttl == 17, "{response:?}");
    }
    Ok(())
}

#[test]
fn an_alias_leads_to_names_in_the_table_and_outside() -> anyhow::Result<()> {
    let Some(engine) = Engine::of_this_machine()? else {
        return Ok(());
    };
    let alias = |name: &str, target: &str| {
        engine.run_labelled(&[(&names_label(), name), ("portolan.target", target)])
    };
    let _app = engine.run_named("app.example.org")?;
    let _inside = alias("inside.example.org", "app.example.org")?;
    let _outside = alias("outside.example.org", "elsewhere.example.net.")?;
    let (server, upstream) = start()?;
    server.await_host("app.example.org")?;
    server.await_host("inside.example.org")?;
    server.await_addresses("outside.example.org", &[&OUTSIDE.to_string()])?;
    ensure!(upstream.count() > 0, "the upstream was not asked");
    for client in [server.udp(), server.tcp()] {
        for (name, target, address) in [
            ("inside.example.org", "app.example.org.", HOST_IP),
            ("outside.example.org", "elsewhere.example.net.", OUTSIDE),
        ] {
            let response = client.query(name, RecordType::A)?;
            let alias = response.answers.first().map(|record| &record.data);
            let leads = matches!(alias, Some(RData::CNAME(to)) if to.to_ascii() == target);
            ensure!(leads && response.answers.len() == 2, "{response:?}");
            ensure!(addresses(&response) == [address], "{response:?}");
        }
    }
    let response = server
        .udp()
        .query("inside.example.org", RecordType::CNAME)?;
    ensure!(response.answers.len() == 1, "{response:?}");
    Ok(())
}

/// Starts a server and its upstream.
fn start() -> anyhow::Result<(Server, Upstream)> {
    let upstream = Upstream::start()?;
    let server = Server::start(&COREFILE.replace("UPSTREAM", &upstream.addr().to_string()))?;
    Ok((server, upstream))
}
