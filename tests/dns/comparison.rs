//! Real resolvers and this server in front of them give the same answers.
//!
//! Knot DNS has zones with names and records of every kind, plain, signed, and
//! signed in a way that does not verify. Unbound and BIND resolve them. Each
//! question is put to the resolver and to this server, which forwards to that
//! resolver: cold and warm, over UDP and TCP, with and without a cache.
//!
//! What has to be the same: the code, all flags, the question with its
//! spelling, all records of all sections, whether there is an OPT, its DO, the
//! extended errors. Not compared: the order of records, the spelling of owners
//! (RFC 4343), the payload in the OPT.

mod cases;
mod reading;
mod rng;
mod world;

use std::collections::BTreeSet;
use std::fmt;
use std::net::SocketAddr;
use std::time::Instant;

use anyhow::Context as _;
use portolan_testkit::client::Client;
use portolan_testkit::process::clock;

use super::named::Named;
use super::router::Router;
use super::server::Server;
use super::unbound::Unbound;
use crate::support::needs;
use cases::Case;
use reading::Content;
use reading::Line;
use reading::Reading;

/// Of the questions.
const SEED: u64 = 20_260_101;

/// Seconds by which two TTLs may differ that were read at one time: each
/// server counts from a moment of its own.
const SLACK: u64 = 2;

/// Questions that are asked through a router.
const ROUTED: usize = 400;

/// RA.
const RECURSION_AVAILABLE: u16 = 0x0080;

/// AD.
const AUTHENTIC_DATA: u16 = 0x0020;

/// The code in the flags.
const RCODE: u16 = 0x000f;

/// The code of a failure.
const SERVFAIL: u16 = 2;

/// The code of a name that does not exist.
const NXDOMAIN: u16 = 3;

/// Extended error: the failure is an old one.
const CACHED_ERROR: u16 = 13;

/// Who gives the second answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    /// This server, without a cache.
    Passed,
    /// This server, with a cache. All records have the least TTL (docs/cache.md).
    Kept,
    /// As before, behind a router with a cache of its own, which mixes them.
    Routed,
}

/// One way of asking this server.
struct Way {
    /// What it is called.
    name: &'static str,
    /// Whether it has a cache.
    manner: Manner,
    /// The resolver, and this server.
    clients: [Client; 2],
    /// Whether datagrams limit what is said.
    is_udp: bool,
    /// Since when the server keeps answers.
    since: Instant,
}

/// A question that was answered in two ways.
struct Difference {
    /// What differs.
    what: Vec<&'static str>,
    /// How it was asked.
    way: String,
    /// The question.
    case: Case,
    /// The resolver's answer.
    theirs: Reading,
    /// This server's.
    ours: Reading,
}

#[test]
fn unbound_says_the_same_through_this_server() -> anyhow::Result<()> {
    if !needs(&["knotd", "keymgr", "unbound"]) {
        return Ok(());
    }
    let knot = world::knot()?;
    let unbound = Unbound::validating(knot.addr(), &world::keys(&knot)?)?;
    unbound.await_secure("ns.signed.test")?;
    unbound.await_secure("ns.hashed.test")?;
    compare(unbound.addr())
}

#[test]
fn bind_says_the_same_through_this_server() -> anyhow::Result<()> {
    if !needs(&["knotd", "keymgr", "named"]) {
        return Ok(());
    }
    let knot = world::knot()?;
    let named = Named::validating(knot.addr(), &world::keys(&knot)?)?;
    compare(named.addr())
}

#[test]
fn a_router_hears_the_same_from_this_server() -> anyhow::Result<()> {
    if !needs(&["knotd", "keymgr", "unbound", "dnsmasq"]) {
        return Ok(());
    }
    let knot = world::knot()?;
    let unbound = Unbound::validating(knot.addr(), &world::keys(&knot)?)?;
    unbound.await_secure("ns.signed.test")?;
    unbound.await_secure("ns.hashed.test")?;
    let server = Server::start(&format!(
        ".:PORT {{\n forward . {}\n cache\n}}\n",
        unbound.addr()
    ))?;
    // With its own cache, two dnsmasq in front of one resolver do not always say
    // the same: aliases may come without what they lead to, or lead elsewhere.
    let no_cache = ["--cache-size=0"];
    let routers = [unbound.addr(), server.addr()].map(|addr| Router::start(addr, addr, &no_cache));
    let [direct, through] = routers;
    let (direct, through) = (direct?, through?);
    let [udp, tcp] = direct.both();
    let [udp_through, tcp_through] = through.both();
    let since = clock();
    let way = |name: &'static str, clients| Way {
        name,
        manner: Manner::Routed,
        clients,
        is_udp: name.starts_with("UDP"),
        since,
    };
    let ways = [
        way("UDP, router", [udp, udp_through]),
        way("TCP, router", [tcp, tcp_through]),
        way("UDP, router, warm", [udp, udp_through]),
    ];
    let cases = cases::draw(SEED);
    agree(&ways, cases.get(..ROUTED).context("more questions")?)
}

/// Asks a resolver, and this server in front of it.
fn compare(resolver: SocketAddr) -> anyhow::Result<()> {
    let cases = cases::draw(SEED);
    let start =
        |cache: &str| Server::start(&format!(".:PORT {{\n forward . {resolver}\n {cache}\n}}\n"));
    // A cache each, so that the first round over either transport is cold.
    let servers = [start("cache")?, start("cache")?, start("")?];
    let direct = [Client::udp(resolver), Client::tcp(resolver)];
    let since = clock();
    let way = |name: &'static str, manner, clients| Way {
        name,
        manner,
        clients,
        is_udp: name.starts_with("UDP"),
        since,
    };
    let ways = [
        way("UDP, cold", Manner::Kept, [direct[0], servers[0].udp()]),
        way("TCP, cold", Manner::Kept, [direct[1], servers[1].tcp()]),
        way("UDP, warm", Manner::Kept, [direct[0], servers[0].udp()]),
        way("TCP, warm", Manner::Kept, [direct[1], servers[1].tcp()]),
        way(
            "UDP, no cache",
            Manner::Passed,
            [direct[0], servers[2].udp()],
        ),
        way(
            "TCP, no cache",
            Manner::Passed,
            [direct[1], servers[2].tcp()],
        ),
    ];
    agree(&ways, &cases)
}

/// Asks in each way, and shows all answers that differ.
fn agree(ways: &[Way], cases: &[Case]) -> anyhow::Result<()> {
    let mut differences = Vec::new();
    let mut answers = 0;
    let mut ids = (1..=u16::MAX).cycle();
    for way in ways {
        // A cache is what answers may suffer from.
        let step = if way.manner == Manner::Passed { 3 } else { 1 };
        for (case, id) in cases.iter().step_by(step).zip(&mut ids) {
            answers += 1;
            let found = way
                .ask(case, id)
                .with_context(|| format!("{case} ({})", way.name))?;
            differences.extend(found);
        }
        // Who was asked first is second in the next round.
        ids.next();
    }
    let report: Vec<String> = differences.iter().map(ToString::to_string).collect();
    assert!(
        report.is_empty(),
        "{} of {answers} answers differ:\n{}",
        report.len(),
        report.join("\n")
    );
    Ok(())
}

// === impl Way ===

impl Way {
    /// Asks both, this server first if the id is even: who is asked first may
    /// have to fetch.
    fn ask(&self, case: &Case, id: u16) -> anyhow::Result<Option<Difference>> {
        let (query, end) = case.encode(id);
        let begun = clock();
        let ask = |client: &Client| -> anyhow::Result<Reading> {
            let octets = client.exchange(&query)?.context("no response")?;
            anyhow::ensure!(octets.get(..2) == query.get(..2), "another id");
            Reading::of(&octets)
        };
        let [direct, server] = &self.clients;
        let (theirs, ours) = if id.is_multiple_of(2) {
            let ours = ask(server).context("this server")?;
            (ask(direct).context("resolver")?, ours)
        } else {
            (
                ask(direct).context("resolver")?,
                ask(server).context("this server")?,
            )
        };
        let mut what = self.content(case, &theirs, &ours);
        if query.get(12..end) != Some(&ours.question) {
            what.push("question");
        }
        let elapsed = begun.elapsed().as_secs() + SLACK;
        if what.is_empty() && !self.ttls_agree(case, &theirs, &ours, elapsed) {
            what.push("TTL");
        }
        Ok((!what.is_empty()).then(|| Difference {
            what,
            way: self.name.to_owned(),
            case: case.clone(),
            theirs,
            ours,
        }))
    }

    /// What differs, TTLs aside, and is not meant to (docs/forward.md, "What is
    /// not as the upstream says it").
    fn content(&self, case: &Case, theirs: &Reading, ours: &Reading) -> Vec<&'static str> {
        let (mut expected, mut what) = (theirs.clone(), Vec::new());
        // RFC 1035 §4.1.1: RA tells of the server that answers. BIND clears it
        // where it asked nobody.
        expected.flags |= RECURSION_AVAILABLE;
        let is_cut = ours.is_truncated() && theirs.is_truncated();
        // RFC 2181 §9: what is cut off is not to be used; how much of it is
        // there, and whether that is vouched for, is each server's choice.
        // RFC 6840 §5.9: who sets CD may be answered before the resolver has
        // verified what it says. Kept is what it said then, without AD and
        // the proofs.
        let is_unverified = case.checking_disabled
            && self.manner != Manner::Passed
            && expected.flags & AUTHENTIC_DATA > ours.flags & AUTHENTIC_DATA;
        if is_cut || is_unverified {
            expected.flags &= !AUTHENTIC_DATA;
            expected.flags |= ours.flags & AUTHENTIC_DATA;
        }
        // RFC 2181 §9: additional records that the resolver leaves out of a
        // short message are there if they fit.
        let is_short = self.is_udp && case.edns.is_none_or(|payload| payload < 1232);
        // RFC 8914 §4.14: a failure that is kept says so, unless the resolver
        // has said more.
        if self.manner != Manner::Passed
            && expected.flags & RCODE == SERVFAIL
            && let Some(opt) = &mut expected.opt
            && opt.errors.is_empty()
        {
            let kept = ours.opt.iter().flat_map(|opt| &opt.errors);
            opt.errors
                .extend(kept.filter(|error| **error == CACHED_ERROR));
        }
        if expected.flags != ours.flags {
            what.push("flags");
        }
        if expected.opt != ours.opt {
            what.push("OPT");
        }
        let names = ["answer", "authority", "additional"];
        let sections = theirs.sections.iter().zip(&ours.sections);
        for (name, (theirs, ours)) in names.into_iter().zip(sections) {
            let [theirs, ours] = [theirs, ours].map(|lines| contents(lines));
            let agrees = theirs == ours
                || is_cut
                || is_unverified && name == "authority" && ours.is_subset(&theirs)
                || is_short && name == "additional" && theirs.is_subset(&ours);
            if !agrees {
                what.push(name);
            }
        }
        what
    }

    /// Whether TTLs are those of the resolver, read within `elapsed` seconds.
    fn ttls_agree(&self, case: &Case, theirs: &Reading, ours: &Reading, elapsed: u64) -> bool {
        // Unbound gives the CNAME that it makes of a DNAME its TTL at first,
        // and 0 from then on (RFC 6672 §3.1).
        if ours.is_truncated() || [theirs, ours].iter().any(|reading| reading.is_made()) {
            return true;
        }
        let (mut expected, mut ours) = (theirs.ttls(), ours.ttls());
        let (mut below, mut above) = (elapsed, elapsed);
        if self.manner == Manner::Kept {
            expected = expected.iter().min().copied().into_iter().collect();
            ours.dedup();
            // The resolver may have fetched a record anew in the meantime.
            below = self.since.elapsed().as_secs() + SLACK;
            // RFC 8020: what denies a name denies those below.
            if theirs.flags & RCODE == NXDOMAIN {
                above = below;
            }
            // BIND lowers the TTL of a wildcard's own records to that of the
            // proof, once it has one.
            if case.name.starts_with('*') {
                above = u64::from(u32::MAX);
            }
        }
        if self.manner == Manner::Routed {
            (below, above) = (u64::from(u32::MAX), self.since.elapsed().as_secs() + SLACK);
        }
        let mut pairs = expected.iter().zip(&ours);
        expected.len() == ours.len()
            && pairs.all(|(expected, ours)| *ours <= expected + above && ours + below >= *expected)
    }
}

/// What records say, TTLs aside, each with how often it is said.
fn contents(lines: &[Line]) -> BTreeSet<(usize, Content<'_>)> {
    let mut contents: Vec<_> = lines.iter().map(|line| (0, line.content())).collect();
    for index in 1..contents.len() {
        let (before, after) = contents.split_at_mut(index);
        if let (Some(last), Some(next)) = (before.last(), after.first_mut())
            && last.1 == next.1
        {
            next.0 = last.0 + 1;
        }
    }
    contents.into_iter().collect()
}

// === impl Difference ===

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {} ({})", self.what.join(", "), self.case, self.way)?;
        writeln!(f, "  resolver: {}", self.theirs)?;
        write!(f, "  portolan: {}", self.ours)
    }
}

#[test]
fn the_questions_are_of_every_kind() {
    let cases = cases::draw(SEED);
    assert!(cases.len() >= 1000);
    let types: BTreeSet<u16> = cases.iter().map(|case| case.qtype).collect();
    assert!(types.len() >= 26, "{types:?}");
    for kind in [
        |case: &Case| case.dnssec_ok,
        |case: &Case| case.checking_disabled,
        |case: &Case| case.authentic_data,
        |case: &Case| case.edns.is_none(),
        |case: &Case| case.name.contains(char::is_uppercase),
        |case: &Case| case.name.to_lowercase().contains("wild"),
        |case: &Case| case.name.to_lowercase().contains("gone"),
    ] {
        let count = cases.iter().filter(|case| kind(case)).count();
        assert!(count >= 30, "{count}");
    }
}
