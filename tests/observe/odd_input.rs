//! Messages that no client sends on purpose.

use std::net::UdpSocket;
use std::time::Duration;

use anyhow::Context as _;
use anyhow::ensure;
use hickory_proto::rr::DNSClass;
use hickory_proto::rr::RecordType;
use portolan_testkit::client::Client;
use portolan_testkit::client::Query;
use portolan_testkit::process::pause;
use portolan_testkit::process::wait_for;
use portolan_testkit::upstream::FakeUpstream;

use crate::cli::site::Site;

/// Messages over each transport.
const COUNT: usize = 20_000;

/// A generator of numbers that look random and are the same every time.
struct Numbers(u64);

// === impl Numbers ===

impl Numbers {
    /// The next number.
    fn next(&mut self) -> u64 {
        // Xorshift: any bits but none will do.
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// A number below `end`.
    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(end.max(1)).unwrap_or(1)).unwrap_or_default()
    }

    /// An octet.
    fn octet(&mut self) -> u8 {
        self.next().to_le_bytes()[3]
    }

    /// A message: noise, or one of `seeds` with faults in it.
    fn message(&mut self, seeds: &[Vec<u8>]) -> Vec<u8> {
        if self.below(5) == 0 {
            let length = self.below(80);
            return (0..length).map(|_| self.octet()).collect();
        }
        let mut message = seeds[self.below(seeds.len())].clone();
        for _ in 0..self.below(4) {
            let at = self.below(message.len());
            match self.below(5) {
                0 => message.truncate(at),
                1 => message.insert(at, self.octet()),
                2 => drop(message.drain(at..message.len().min(at + 1))),
                3 => message.extend_from_slice(&seeds[self.below(seeds.len())]),
                _ => {
                    if let Some(octet) = message.get_mut(at) {
                        *octet = self.octet();
                    }
                }
            }
        }
        message
    }
}

/// Messages to start from.
fn seeds() -> anyhow::Result<Vec<Vec<u8>>> {
    let queries = [
        Query::new("a.example", RecordType::A),
        Query::new("*.a.example", RecordType::ANY)
            .edns(4096)
            .dnssec_ok(true),
        Query::new("1.2.0.192.in-addr.arpa", RecordType::PTR).edns_version(3),
        Query::new("version.bind", RecordType::TXT).class(DNSClass::CH),
        Query::new("up.example", RecordType::HTTPS)
            .option(10, &[1; 8])
            .option(8, &[0, 1, 24, 0, 1, 2, 3]),
        Query::new("loop.example", RecordType::AXFR)
            .option(11, &[])
            .option(12, &[0; 40]),
    ];
    let mut seeds = queries
        .iter()
        .map(Query::encode)
        .collect::<anyhow::Result<Vec<_>>>()?;
    // Compression pointers: to itself, forward, in a circle.
    for pointer in [[0xc0, 12], [0xc0, 14], [0xff, 0xff]] {
        let mut message = seeds[0].clone();
        message.splice(12..23, pointer);
        seeds.push(message);
    }
    Ok(seeds)
}

/// The server: every stage there is, so that messages reach far.
async fn site() -> anyhow::Result<(Site, FakeUpstream)> {
    let upstream = FakeUpstream::answering().await?;
    let site = Site::start(&format!(
        ".:@dns {{
    bind 127.0.0.1
    log
    errors
    prometheus 127.0.0.1:@metrics
    loadbalance
    hosts {{
        192.0.2.1 a.example
        192.0.2.2 a.example *.w.example
        fallthrough
    }}
    docker-cluster {{
        docker_socket unix:///nonexistent/docker.sock
        host_ip 192.0.2.5
        fallthrough
    }}
    forward example {} {{
        next SERVFAIL
    }}
    cache
    whoami
}}
",
        upstream.addr()
    ))?;
    Ok((site, upstream))
}

/// Fails unless the server is as well as it was.
fn ensure_well(site: &Site) -> anyhow::Result<()> {
    for client in [site.ports.client(), Client::tcp(site.ports.server())] {
        let response = client.query("a.example", RecordType::A)?;
        ensure!(response.answers.len() == 2, "{response:?}");
        let response = client.query("www.up.example", RecordType::A)?;
        ensure!(response.answers.len() == 1, "{response:?}");
    }
    let panics = site.metric("coredns_panics_total")?;
    ensure!(
        panics == 0.0,
        "{panics} panics:\n{}",
        site.line("panic").unwrap_or_default()
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_thousand_odd_datagrams_do_no_harm() -> anyhow::Result<()> {
    let (site, _upstream) = site().await?;
    let seeds = seeds()?;
    let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    socket.connect(site.ports.server())?;
    socket.set_nonblocking(true)?;
    let mut buffer = vec![0; 65_536];
    let mut answered = 0;
    for number in 0..COUNT {
        let message = numbers.message(&seeds);
        drop(socket.send(&message));
        while let Ok(length) = socket.recv(&mut buffer) {
            answered += 1;
            // RFC 1035 §4.1.1: a response says that it is one.
            ensure!(
                length >= 12 && buffer[2] & 0x80 != 0,
                "{:?}",
                &buffer[..length]
            );
        }
        // At a pace that a debug build keeps up with.
        if number % 50 == 0 {
            pause(Duration::from_millis(4));
        }
    }
    // What overflows the socket's buffer is lost, as on any server; from here on
    // nothing may be.
    wait_for(|| site.ports.asked("a.example")).context("no answer any more")?;
    pause(Duration::from_millis(300));
    ensure!(answered > COUNT / 20, "{answered} were answered");
    let read = site.metric("coredns_dns_requests_total")?
        + site.metric("portolan_queries_malformed_total")?;
    ensure!(read > 10_000.0, "only {read} were read");
    ensure_well(&site)
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_thousand_odd_messages_over_tcp_do_no_harm() -> anyhow::Result<()> {
    let (site, _upstream) = site().await?;
    let seeds = seeds()?;
    let mut numbers = Numbers(0xd1b5_4a32_d192_ed03);
    let client = Client::tcp(site.ports.server()).timeout(Duration::from_millis(50));
    let mut connection = client.connect()?;
    let mut opened = 1;
    for number in 0..COUNT {
        let message = numbers.message(&seeds);
        let mut octets = u16::try_from(message.len())?.to_be_bytes().to_vec();
        octets.extend_from_slice(&message);
        // Now and then the length lies, or the rest never comes.
        let breaks_off = number % 97 == 0;
        if breaks_off {
            octets.truncate(numbers.below(octets.len()));
        }
        let sent = connection.send_octets(&octets).is_ok();
        let goes_on = !breaks_off && number % 16 != 15;
        if !sent || !goes_on {
            // What was answered is in the connection that ends here.
            if number % 160 == 15 {
                drop(connection.receive());
            }
            connection = client.connect()?;
            opened += 1;
        }
    }
    ensure!(opened > COUNT / 20, "{opened}");
    ensure_well(&site)
}
