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
//! (RFC 4343), the payload in the OPT. What else may differ is in
//! `Way::expected`, each with the reason.
//!
//! The questions are drawn from a seed: `COMPARISON_SEED=7` draws others.

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
use reading::TRUNCATED;

/// Of the questions, unless told otherwise.
const SEED: u64 = 20_260_101;

/// Seconds by which two TTLs may differ that were read at one time: each
/// server counts from a moment of its own.
const SLACK: u64 = 2;

/// Questions that are asked through a router.
const ROUTED: usize = 400;

/// Octets of the longest datagram that this server sends.
const CEILING: usize = 1232;

/// The sections of a response.
const SECTIONS: [&str; 3] = ["answer", "authority", "additional"];

/// AD.
const AUTHENTIC_DATA: u16 = 0x0020;

/// The code in the flags.
const RCODE: u16 = 0x000f;

/// The code of a failure.
const SERVFAIL: u16 = 2;

/// The code of a name that does not exist.
const NXDOMAIN: u16 = 3;

/// Type RRSIG.
const RRSIG: u16 = 46;

/// Extended error: the zone is not signed as it should be.
const BOGUS: u16 = 6;

/// Extended error: a key of the zone is missing.
const DNSKEY_MISSING: u16 = 9;

/// Extended error: the failure is an old one.
const CACHED_ERROR: u16 = 13;

/// Who gives the first answer, this server's upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Resolver {
    /// Unbound.
    Unbound,
    /// BIND's named.
    Bind,
}

/// Who gives the second answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    /// This server, without a cache.
    Passed,
    /// This server, with a cache.
    Kept,
    /// As before, behind a router with a cache of its own, which mixes them.
    Routed,
}

/// One way of asking this server.
struct Way {
    /// What it is called.
    name: &'static str,
    /// Who gives the first answer.
    resolver: Resolver,
    /// Whether it has a cache.
    manner: Manner,
    /// The resolver, and this server.
    clients: [Client; 2],
    /// The resolver over TCP, for what it has to say in whole, if datagrams
    /// limit what is said.
    whole: Option<Client>,
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
    compare(Resolver::Unbound, unbound.addr())
}

#[test]
fn bind_says_the_same_through_this_server() -> anyhow::Result<()> {
    if !needs(&["knotd", "keymgr", "named"]) {
        return Ok(());
    }
    let knot = world::knot()?;
    let named = Named::validating(knot.addr(), &world::keys(&knot)?)?;
    compare(Resolver::Bind, named.addr())
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
    let whole = tcp;
    let [udp_through, tcp_through] = through.both();
    let since = clock();
    let way = |name: &'static str, clients| Way {
        name,
        resolver: Resolver::Unbound,
        manner: Manner::Routed,
        clients,
        whole: name.starts_with("UDP").then_some(whole),
        since,
    };
    let ways = [
        way("UDP, router", [udp, udp_through]),
        way("TCP, router", [tcp, tcp_through]),
        way("UDP, router, warm", [udp, udp_through]),
    ];
    let cases = cases::draw(seed());
    agree(&ways, cases.get(..ROUTED).context("more questions")?)
}

/// Asks a resolver, and this server in front of it.
fn compare(resolver: Resolver, addr: SocketAddr) -> anyhow::Result<()> {
    let cases = cases::draw(seed());
    let start =
        |cache: &str| Server::start(&format!(".:PORT {{\n forward . {addr}\n {cache}\n}}\n"));
    // A cache each, so that the first round over either transport is cold. A
    // denial is kept, with all its records, for half an hour at most by default.
    let cache = "cache {\n  denial 9984 3600\n }";
    let servers = [start(cache)?, start(cache)?, start("")?];
    let direct = [Client::udp(addr), Client::tcp(addr)];
    let since = clock();
    let way = |name: &'static str, manner, clients| Way {
        name,
        resolver,
        manner,
        clients,
        whole: name.starts_with("UDP").then_some(direct[1]),
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

/// The seed of the questions.
fn seed() -> u64 {
    let told = std::env::var("COMPARISON_SEED");
    told.map_or(SEED, |seed| seed.parse().expect("a seed is a number"))
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
        let compare = |theirs: Reading, ours: Reading| -> anyhow::Result<_> {
            let expected = self.expected(case, &theirs, &ours);
            let mut what = differences(&expected, &ours);
            if !what.is_empty() && self.is_cut(&theirs, &ours) {
                let whole = self.whole.as_ref().context("a limit over TCP")?;
                what = cut_of(&ask(whole).context("resolver")?, &expected, &ours);
            }
            if query.get(12..end) != Some(&ours.question) {
                what.push("question");
            }
            let elapsed = begun.elapsed().as_secs() + SLACK;
            if what.is_empty() && !self.ttls_agree(case, &expected, &ours, elapsed) {
                what.push("TTL");
            }
            Ok((!what.is_empty()).then(|| Difference {
                what,
                way: self.name.to_owned(),
                case: case.clone(),
                theirs,
                ours,
            }))
        };
        let Some(found) = compare(theirs, ours)? else {
            return Ok(None);
        };
        // Who is asked for the first time may fail, or say something else than
        // from then on.
        let theirs = ask(direct).context("resolver")?;
        // RFC 6840 §5.9: so may who is asked with CD, and that is not kept.
        let ours = if case.checking_disabled {
            ask(server).context("this server")?
        } else {
            found.ours
        };
        compare(theirs, ours)
    }

    /// Whether an answer of this server that is cut is held against the whole,
    /// for what is cut is not to be used (RFC 2181 §9). BIND cuts its own to
    /// nothing for those who sent an OPT, and for others to some records of a
    /// set, by chance. Unbound sends more than 1232 octets to those who take
    /// them.
    fn is_cut(&self, theirs: &Reading, ours: &Reading) -> bool {
        let is_cut_too = self.resolver == Resolver::Bind && theirs.is_truncated();
        ours.is_truncated() && (is_cut_too || theirs.length > CEILING)
    }

    /// What this server has to say where the resolver says `theirs`; `ours` is
    /// looked at for what it may say besides (docs/forward.md, "What is not as
    /// the upstream says it").
    fn expected(&self, case: &Case, theirs: &Reading, ours: &Reading) -> Reading {
        let mut expected = theirs.clone();
        let [_, authority, additional] = &mut expected.sections;
        // BIND has no proof for a wildcard's own records before it has made
        // others of them.
        if self.resolver == Resolver::Bind
            && self.manner == Manner::Kept
            && case.name.starts_with('*')
            && ours.sections[1].is_empty()
        {
            authority.clear();
        }
        // It has no additional records for those who take 512 octets and say
        // so, though there is room; it is offered 1232.
        if self.resolver == Resolver::Bind
            && self.whole.is_some()
            && case.edns.is_some_and(|payload| payload <= 512)
            && additional.is_empty()
        {
            additional.clone_from(&ours.sections[2]);
        }
        if theirs.flags & RCODE == SERVFAIL
            && let Some((theirs, ours)) = expected.opt.as_mut().zip(ours.opt.as_ref())
        {
            match (theirs.errors.as_slice(), ours.errors.as_slice()) {
                // RFC 8914 §4.14: a failure that is kept says so, unless the
                // resolver has said more.
                ([], [CACHED_ERROR]) if self.manner != Manner::Passed => {}
                // Why it does not trust a zone, Unbound tells in one way today
                // and in another tomorrow.
                ([BOGUS, ..], [DNSKEY_MISSING]) | ([DNSKEY_MISSING, ..], [BOGUS]) => {}
                _ => return expected,
            }
            theirs.errors.clone_from(&ours.errors);
        }
        expected
    }

    /// Whether TTLs are those of the resolver, read within `elapsed` seconds.
    fn ttls_agree(&self, case: &Case, theirs: &Reading, ours: &Reading, elapsed: u64) -> bool {
        // Unbound gives the CNAME that it makes of a DNAME its TTL at first,
        // and 0 from then on (RFC 6672 §3.1).
        if ours.is_truncated() || [theirs, ours].iter().any(|reading| reading.is_made()) {
            return true;
        }
        let (expected, ours) = (theirs.ttls(), ours.ttls());
        let (mut below, mut above) = (elapsed, elapsed);
        if self.manner == Manner::Kept {
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

/// What differs, TTLs aside.
fn differences(expected: &Reading, ours: &Reading) -> Vec<&'static str> {
    let mut what = Vec::new();
    if expected.flags != ours.flags {
        what.push("flags");
    }
    if expected.opt != ours.opt {
        what.push("OPT");
    }
    let sections = expected.sections.iter().zip(&ours.sections);
    for (name, (theirs, ours)) in SECTIONS.into_iter().zip(sections) {
        if contents(theirs) != contents(ours) {
            what.push(name);
        }
    }
    what
}

/// What is wrong with an answer that was cut, held against all of it: the flags
/// are not the same, or what is there is not some whole RRsets of it.
fn cut_of(whole: &Reading, theirs: &Reading, ours: &Reading) -> Vec<&'static str> {
    let mut what = Vec::new();
    // AD as for the whole, unless the resolver left it out: BIND does where it
    // cuts all.
    let left = ours.flags & whole.flags & AUTHENTIC_DATA;
    let flags = theirs.flags & !AUTHENTIC_DATA | left | TRUNCATED;
    if flags != ours.flags {
        what.push("flags");
    }
    if theirs.opt != ours.opt {
        what.push("OPT");
    }
    let sections = whole.sections.iter().zip(&ours.sections);
    for (name, (whole, ours)) in SECTIONS.into_iter().zip(sections) {
        let (whole, ours) = (contents(whole), contents(ours));
        let there: BTreeSet<_> = ours.iter().map(|(_, content)| set(content)).collect();
        let sets = whole.iter().filter(|(_, it)| there.contains(&set(it)));
        if !sets.eq(&ours) {
            what.push(name);
        }
    }
    what
}

/// What tells the RRset of a record from others: a signature is of that with
/// the type that it covers.
fn set<'a>((rtype, class, owner, data): &Content<'a>) -> Content<'a> {
    let covered = if *rtype == RRSIG { data.get(..2) } else { None };
    (*rtype, *class, owner, covered.unwrap_or_default())
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
    let cases = cases::draw(seed());
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
