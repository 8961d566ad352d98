use std::net::IpAddr;
use std::net::Ipv4Addr;

use nix::sys::resource::UsageWho;
use nix::sys::resource::getrusage;
use tokio::io::AsyncReadExt as _;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpSocket;
use tokio::net::TcpStream;
use tokio::net::UdpSocket;
use tokio::time::Instant;
use tokio::time::sleep;

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_join_talk_and_leave() {
    for keys in [vec![], vec![KEY.to_vec()]] {
        let mut a = Node::start(ip(1, 1), &keys).await;
        let mut b = Node::start(ip(1, 2), &keys).await;
        let began = Instant::now();
        b.gossip.join(a.gossip.address()).await.unwrap();
        println!("join {:?}", began.elapsed());
        a.expect(&b.joined()).await;
        b.expect(&a.joined()).await;
        println!("both know {:?}", began.elapsed());
        a.expect(&Event::Exchange(b.state())).await;
        b.expect(&Event::Exchange(a.state())).await;

        for (n, reliable) in [(1, false), (2, true)] {
            for (from, to) in [(&a, &b), (&b, &a)] {
                let message = Bytes::from(vec![n; 1_250]);
                from.gossip
                    .send(to.gossip.address(), reliable, message)
                    .await
                    .unwrap();
            }
            a.expect(&Event::Message(vec![n; 1_250].into())).await;
            b.expect(&Event::Message(vec![n; 1_250].into())).await;
        }
        a.gossip.broadcast(Bytes::from_static(b"gossip"));
        b.expect(&Event::Message(Bytes::from_static(b"gossip")))
            .await;

        let began = Instant::now();
        b.gossip.leave(Duration::from_secs(2)).await;
        println!("leave {:?}", began.elapsed());
        a.expect(&Event::Left(b.id.clone())).await;
        println!("left {:?}", began.elapsed());
        assert!(
            b.gossip
                .send(a.gossip.address(), false, Bytes::from_static(b"x"))
                .await
                .is_err()
        );
        assert_eq!(a.online().await, [a.id.clone()]);
        a.stop().await;
        b.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leaving_is_quick_and_heard_by_all() {
    let mut a = Node::start(ip(2, 1), &[]).await;
    let mut b = Node::start(ip(2, 2), &[]).await;
    let c = Node::start(ip(2, 3), &[]).await;
    b.gossip.join(a.gossip.address()).await.unwrap();
    c.gossip.join(b.gossip.address()).await.unwrap();
    a.expect(&c.joined()).await;
    let began = Instant::now();
    c.gossip.leave(Duration::from_secs(2)).await;
    let took = began.elapsed();
    a.expect(&Event::Left(c.id.clone())).await;
    b.expect(&Event::Left(c.id.clone())).await;
    println!("leave {took:?}, heard {:?}", began.elapsed());
    assert!(took < Duration::from_millis(1_500), "{took:?}");
    // Nobody is left to tell.
    for node in [c, b, a] {
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_dies_is_gone_for_all_others() {
    let mut nodes = Vec::new();
    for n in 1..=4 {
        nodes.push(Node::start(ip(3, n), &[]).await);
    }
    let seed = nodes[0].gossip.address();
    for node in &nodes[1..] {
        node.gossip.join(seed).await.unwrap();
    }
    let dead = nodes.pop().unwrap();
    for node in &mut nodes {
        node.expect(&dead.joined()).await;
    }
    let began = Instant::now();
    dead.gossip.shutdown().await;
    for node in &mut nodes {
        node.expect_within(&Event::Left(dead.id.clone()), Duration::from_secs(15))
            .await;
        println!("gone after {:?}", began.elapsed());
    }
    for node in nodes {
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn restarts_before_do_not_delay_that_a_death_is_found() {
    let mut a = Node::start(ip(17, 1), &[]).await;
    // Members that are gone are remembered for half a minute.
    for n in 3..=4 {
        let former = Node::start(ip(17, n), &[]).await;
        former.gossip.join(a.gossip.address()).await.unwrap();
        a.expect(&former.joined()).await;
        former.gossip.leave(Duration::from_secs(2)).await;
        a.expect(&Event::Left(former.id.clone())).await;
        former.stop().await;
    }
    let b = Node::start(ip(17, 2), &[]).await;
    b.gossip.join(a.gossip.address()).await.unwrap();
    a.expect(&b.joined()).await;
    b.gossip.shutdown().await;
    a.expect_within(&Event::Left(b.id.clone()), Duration::from_secs(11))
        .await;
    a.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_is_free_after_shutdown() {
    let a = Node::start(ip(4, 1), &[]).await;
    let address = a.gossip.address();
    // Somebody still has a part of it.
    let clone = a.gossip.clone();
    a.stop().await;
    let mut config = config(ip(4, 1), &[], "home");
    config.bind = address;
    let (events, _keep) = mpsc::channel(16);
    let again = Gossip::start(config.clone(), events.clone(), Arc::default())
        .await
        .unwrap();
    let refused = Gossip::start(config, events, Arc::default())
        .await
        .unwrap_err();
    assert!(
        refused
            .to_string()
            .contains("cluster cannot listen on 127.44.4.1"),
        "{refused}"
    );
    again.shutdown().await;
    drop(clone);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_kills_memberlist_does_nothing_here() {
    let killers: [&[u8]; 10] = [
        b"\x02",
        b"\x02\x80",
        b"\x02\x80\x80\x80\x80",
        b"\x0f\x01\xff\xff\xff\x00",
        b"\x0f\x01\x02\x00\x00\x01",
        b"\x01\x02\xff\xff\xff\xff",
        b"\x0d\x01\xff\xff\xff\xff",
        b"\x0e\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\x08\xff\xff\xff\xff\x0f",
        b"\x08\xff\xff\xff\xff\xff\xff",
    ];
    for keys in [vec![], vec![KEY.to_vec()]] {
        let a = Node::start(ip(5, 1), &keys).await;
        let b = Node::start(ip(5, 2), &keys).await;
        let label = [&b"\x0c\x0fportolan/1/home"[..], &[]].concat();
        let mut open = Vec::new();
        let before = memory();
        for killer in killers {
            for prefix in [&label[..], b""] {
                for close in [false, true] {
                    let mut stream = from(ip(5, 9), a.gossip.address()).await;
                    stream.write_all(prefix).await.unwrap();
                    stream.write_all(killer).await.unwrap();
                    if close {
                        drop(stream);
                    } else {
                        open.push(stream);
                    }
                    // Within the sixteen that one address may have.
                    if open.len() == 8 {
                        open.clear();
                        sleep(Duration::from_millis(50)).await;
                    }
                }
            }
        }
        sleep(Duration::from_millis(300)).await;
        let burnt = cpu_during(Duration::from_millis(700)).await;
        assert!(burnt < Duration::from_millis(200), "{burnt:?} of a core");
        assert!(memory() < before + (1 << 30), "{} MiB", memory() >> 20);
        let least = if keys.is_empty() { 8 } else { 4 };
        assert!(
            a.gossip.refusals().oversized >= least,
            "{:?}",
            a.gossip.refusals()
        );
        let began = Instant::now();
        b.gossip.join(a.gossip.address()).await.unwrap();
        assert!(
            began.elapsed() < Duration::from_millis(200),
            "{:?}",
            began.elapsed()
        );
        a.stop().await;
        b.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_harms_nobody() {
    for keys in [vec![], vec![KEY.to_vec()]] {
        let mut a = Node::start(ip(6, 1), &keys).await;
        let b = Node::start(ip(6, 2), &keys).await;
        b.gossip.join(a.gossip.address()).await.unwrap();
        let mut random = Random(7);
        let udp = UdpSocket::bind((ip(6, 9), 0)).await.unwrap();
        for n in 0..20_000 {
            let mut junk = random.junk(1_400);
            if n % 2 == 0 {
                junk.splice(..0, *b"\x0c\x0fportolan/1/home");
            }
            udp.send_to(&junk, a.gossip.address()).await.unwrap();
            if n % 64 == 0 {
                tokio::task::yield_now().await;
            }
        }
        for n in 0..600_u16 {
            let mut stream = from(ip(6, 10 + n.to_le_bytes()[0] % 20), a.gossip.address()).await;
            let mut junk = random.junk(3_000);
            if n % 2 == 0 {
                junk.splice(..0, *b"\x0c\x0fportolan/1/home");
            }
            // It may have been closed at once.
            drop(stream.write_all(&junk).await);
        }
        sleep(Duration::from_millis(2_500)).await;
        let burnt = cpu_during(Duration::from_millis(500)).await;
        assert!(burnt < Duration::from_millis(150), "{burnt:?} of a core");
        let refusals = a.gossip.refusals();
        println!("{refusals:?}");
        assert!(refusals.foreign > 9_000, "{refusals:?}");
        assert_eq!(a.online().await, [a.id.clone(), b.id.clone()]);
        b.gossip
            .send(a.gossip.address(), true, Bytes::from_static(b"still"))
            .await
            .unwrap();
        a.expect(&Event::Message(Bytes::from_static(b"still")))
            .await;
        a.stop().await;
        b.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_not_of_the_cluster_is_told_why() {
    let table: [(&str, &[u8], &str); 5] = [
        ("home", KEY, ""),
        ("home", OTHER, "its cluster secret is another"),
        (
            "home",
            b"",
            "one of us has a cluster secret, the other has none",
        ),
        ("away", KEY, "it belongs to another cluster"),
        ("away", b"", "it belongs to another cluster"),
    ];
    for (label, key, expected) in table {
        let secret = Node::start(ip(7, 1), &[KEY.to_vec()]).await;
        let keys: Vec<Vec<u8>> = (!key.is_empty())
            .then(|| key.to_vec())
            .into_iter()
            .collect();
        let other = Node::with(config(ip(7, 2), &keys, label)).await;
        for (from, to) in [(&other, &secret), (&secret, &other)] {
            let joined = from.gossip.join(to.gossip.address()).await;
            println!("{label} {expected}: {joined:?}");
            if expected.is_empty() {
                joined.unwrap();
            } else {
                let error = joined.unwrap_err().to_string();
                assert!(error.starts_with(expected), "{error}");
                assert_eq!(from.online().await.len(), 1);
                assert_eq!(to.gossip.refusals().foreign, 1, "told there, too");
                let message = Bytes::from_static(b"x");
                drop(
                    from.gossip
                        .send(to.gossip.address(), false, message.clone())
                        .await,
                );
                drop(from.gossip.send(to.gossip.address(), true, message).await);
            }
        }
        sleep(Duration::from_millis(300)).await;
        for mut node in [secret, other] {
            let messages = node
                .drain()
                .into_iter()
                .filter(|e| matches!(e, Event::Message(_)));
            assert_eq!(messages.count(), 0);
            node.stop().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_turn_without_a_gap() {
    let mut a = Node::start(ip(8, 1), &[KEY.to_vec()]).await;
    let b = Node::start(ip(8, 2), &[KEY.to_vec()]).await;
    b.gossip.join(a.gossip.address()).await.unwrap();
    let keys = |keys: &[&[u8]]| keys.iter().map(|key| key.to_vec()).collect::<Vec<_>>();
    let (ours, theirs) = (a.gossip.clone(), b.gossip.clone());
    let steps = [
        (&ours, keys(&[KEY, OTHER])),
        (&theirs, keys(&[KEY, OTHER])),
        (&ours, keys(&[OTHER, KEY])),
        (&theirs, keys(&[OTHER, KEY])),
        (&ours, keys(&[OTHER])),
        (&theirs, keys(&[OTHER])),
    ];
    for (n, (gossip, keys)) in (0_u8..).zip(steps) {
        gossip.set_keys(&keys).unwrap();
        let reliable = n % 2 == 0;
        b.gossip
            .send(a.gossip.address(), reliable, Bytes::from(vec![n; 9]))
            .await
            .unwrap();
        a.expect(&Event::Message(vec![n; 9].into())).await;
    }
    let late = Node::start(ip(8, 3), &[KEY.to_vec()]).await;
    let error = late.gossip.join(a.gossip.address()).await.unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("its cluster secret is another"),
        "{error}"
    );
    assert_eq!(a.gossip.set_keys(&[]), Err(KeyError::Restart));
    assert_eq!(a.gossip.set_keys(&[vec![0; 5]]), Err(KeyError::Length(5)));
    for node in [a, b, late] {
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_octet_by_octet_is_read_all_the_same() {
    let mut a = Node::start(ip(14, 1), &[]).await;
    let mut stream = from(ip(14, 9), a.gossip.address()).await;
    stream.set_nodelay(true).unwrap();
    let message = [&b"\x0c\x0fportolan/1/home\x09\x05"[..], b"hello"].concat();
    for octet in message {
        stream.write_all(&[octet]).await.unwrap();
        sleep(Duration::from_millis(5)).await;
    }
    a.expect(&Event::Message(Bytes::from_static(b"hello")))
        .await;
    assert_eq!(a.gossip.refusals(), Refusals::default());
    a.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silent_connections_are_few_and_short() {
    let a = Node::start(ip(9, 1), &[]).await;
    let b = Node::start(ip(9, 2), &[]).await;
    let mut silent = Vec::new();
    for _ in 0..40 {
        silent.push(from(ip(9, 9), a.gossip.address()).await);
    }
    sleep(Duration::from_millis(200)).await;
    assert_eq!(a.gossip.refusals().connections, 24);
    b.gossip.join(a.gossip.address()).await.unwrap();
    let began = Instant::now();
    for mut stream in silent {
        let end = timeout(Duration::from_secs(5), stream.read(&mut [0; 64])).await;
        drop(end.expect("closed in time"));
    }
    println!("closed after {:?}", began.elapsed());
    let mut again = from(ip(9, 9), a.gossip.address()).await;
    again.write_all(b"x").await.unwrap();
    assert_eq!(a.gossip.refusals().connections, 24);
    a.stop().await;
    b.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn outside_the_networks_there_is_nobody() {
    let mut inside = config(ip(10, 1), &[], "home");
    inside.networks = vec!["127.44.10.0/29".parse().unwrap()];
    let mut a = Node::with(inside).await;
    let b = Node::start(ip(10, 2), &[]).await;
    let c = Node::start(ip(10, 9), &[]).await;
    assert!(c.gossip.join(a.gossip.address()).await.is_err());
    let error = a.gossip.join(c.gossip.address()).await.unwrap_err();
    assert!(
        error.to_string().contains("none of the networks"),
        "{error}"
    );
    c.gossip
        .send(a.gossip.address(), false, Bytes::from_static(b"x"))
        .await
        .unwrap();
    // By way of one that is inside, neither.
    b.gossip.join(a.gossip.address()).await.unwrap();
    c.gossip.join(b.gossip.address()).await.unwrap();
    sleep(Duration::from_millis(600)).await;
    assert_eq!(a.online().await, [a.id.clone(), b.id.clone()]);
    let refusals = a.gossip.refusals();
    assert!(
        refusals.connections >= 1 && refusals.datagrams >= 1,
        "{refusals:?}"
    );
    assert!(
        a.drain()
            .iter()
            .all(|event| !matches!(event, Event::Message(_)))
    );
    for node in [a, b, c] {
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cut_that_ends_is_healed_by_one_join() {
    let mut a = Node::start(ip(11, 1), &[]).await;
    let mut b = Node::start(ip(11, 2), &[]).await;
    b.gossip.join(a.gossip.address()).await.unwrap();
    a.expect(&b.joined()).await;
    a.gossip.gate.cut(&[IpAddr::V4(ip(11, 2))]);
    let began = Instant::now();
    a.expect_within(&Event::Left(b.id.clone()), Duration::from_secs(15))
        .await;
    b.expect_within(&Event::Left(a.id.clone()), Duration::from_secs(15))
        .await;
    println!("cut noticed after {:?}", began.elapsed());
    assert!(a.gossip.join(b.gossip.address()).await.is_err());
    a.gossip.gate.cut(&[]);
    let began = Instant::now();
    a.gossip.join(b.gossip.address()).await.unwrap();
    a.expect(&b.joined()).await;
    b.expect(&a.joined()).await;
    println!("healed after {:?}", began.elapsed());
    a.stop().await;
    b.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_largest_message_is_gossiped_with_the_longest_label() {
    for (label, keys) in [
        ("home", vec![KEY.to_vec()]),
        (&*"x".repeat(200), vec![KEY.to_vec()]),
    ] {
        let a = Node::with(config(ip(12, 1), &keys, label)).await;
        let mut b = Node::with(config(ip(12, 2), &keys, label)).await;
        b.gossip.join(a.gossip.address()).await.unwrap();
        b.expect(&a.joined()).await;
        let room = options::max_packet(&options::label(label).unwrap(), true) - 6 - 4;
        println!("{} octets", room);
        assert!(room >= 1_250);
        let message = Bytes::from(vec![7; room]);
        a.gossip.broadcast(message.clone());
        b.expect(&Event::Message(message)).await;
        a.stop().await;
        b.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_families_are_spoken() {
    let mut any = config(ip(13, 1), &[], "home");
    any.bind = "[::]:0".parse().unwrap();
    any.advertise = SocketAddr::new(IpAddr::V4(ip(13, 1)), 0);
    let a = Node::with(any).await;
    let mut b = Node::start(ip(13, 2), &[]).await;
    let mut six = config(ip(13, 3), &[], "home");
    six.bind = "[::1]:0".parse().unwrap();
    six.advertise = six.bind;
    let mut c = Node::with(six).await;
    b.gossip.join(a.gossip.address()).await.unwrap();
    let port = a.gossip.address().port();
    c.gossip
        .join(SocketAddr::new("::1".parse().unwrap(), port))
        .await
        .unwrap();
    a.gossip
        .send(b.gossip.address(), false, Bytes::from_static(b"4"))
        .await
        .unwrap();
    b.expect(&Event::Message(Bytes::from_static(b"4"))).await;
    a.gossip
        .send(c.gossip.address(), false, Bytes::from_static(b"6"))
        .await
        .unwrap();
    c.expect(&Event::Message(Bytes::from_static(b"6"))).await;
    for node in [a, b, c] {
        node.stop().await;
    }
}

/// A member, and what it hears.
struct Node {
    id: MemberId,
    gossip: Gossip,
    events: mpsc::Receiver<Event>,
}

impl Node {
    async fn start(ip: Ipv4Addr, keys: &[Vec<u8>]) -> Self {
        Self::with(config(ip, keys, "home")).await
    }

    async fn with(config: GossipConfig) -> Self {
        let (sender, events) = mpsc::channel(10_000);
        let id = config.id.clone();
        let exchange = Arc::new(ArcSwap::from_pointee(Bytes::from(id.as_str().to_owned())));
        let gossip = Gossip::start(config, sender, exchange).await.unwrap();
        Self { id, gossip, events }
    }

    fn joined(&self) -> Event {
        Event::Joined(self.id.clone(), self.gossip.address())
    }

    fn state(&self) -> Bytes {
        Bytes::from(self.id.as_str().to_owned())
    }

    async fn online(&self) -> Vec<MemberId> {
        let mut online: Vec<_> = self
            .gossip
            .online()
            .await
            .into_iter()
            .map(|(id, _)| id)
            .collect();
        online.sort();
        online
    }

    /// Waits for an event, whatever comes before.
    async fn expect(&mut self, expected: &Event) {
        self.expect_within(expected, Duration::from_secs(3)).await;
    }

    async fn expect_within(&mut self, expected: &Event, within: Duration) {
        let heard = async {
            while let Some(event) = self.events.recv().await {
                if event == *expected {
                    return;
                }
            }
            panic!("no more events");
        };
        let heard = timeout(within, heard).await;
        assert!(heard.is_ok(), "{} has not heard {expected:?}", self.id);
    }

    /// What was heard and not yet looked at.
    fn drain(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.events.try_recv().ok()).collect()
    }

    async fn stop(self) {
        self.gossip.shutdown().await;
    }
}

/// Reproducible junk.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695);
        self.0 >> 33
    }

    fn junk(&mut self, longest: u64) -> Vec<u8> {
        let length = self.next() % longest;
        let mut junk: Vec<u8> = (0..length).map(|_| self.next().to_le_bytes()[0]).collect();
        // Mostly something that memberlist knows.
        if let Some(tag) = junk.first_mut() {
            *tag %= 18;
        }
        junk
    }
}

fn config(ip: Ipv4Addr, keys: &[Vec<u8>], label: &str) -> GossipConfig {
    let octets = ip.octets();
    let boot = u64::from(u32::from_be_bytes(octets));
    GossipConfig {
        id: MemberId::new(&format!("node-{}", octets[3]), boot),
        bind: SocketAddr::new(IpAddr::V4(ip), 0),
        advertise: SocketAddr::new(IpAddr::V4(ip), 0),
        label: label.to_owned(),
        networks: Vec::new(),
        keys: keys.to_vec(),
    }
}

/// Each test has a network of its own.
fn ip(test: u8, node: u8) -> Ipv4Addr {
    Ipv4Addr::new(127, 44, test, node)
}

/// A connection from an address.
async fn from(ip: Ipv4Addr, to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::new(IpAddr::V4(ip), 0)).unwrap();
    socket.connect(to).await.unwrap()
}

/// What this process uses of the processors in a while.
async fn cpu_during(while_: Duration) -> Duration {
    let used = || {
        let usage = getrusage(UsageWho::RUSAGE_SELF).unwrap();
        let micros = |time: nix::sys::time::TimeVal| time.tv_sec() * 1_000_000 + time.tv_usec();
        u64::try_from(micros(usage.user_time()) + micros(usage.system_time())).unwrap()
    };
    let before = used();
    sleep(while_).await;
    Duration::from_micros(used() - before)
}

/// The most memory that this process ever had, also what it only reserved.
fn memory() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status
        .lines()
        .find_map(|line| line.strip_prefix("VmPeak:"))
        .unwrap();
    peak.trim()
        .trim_end_matches(" kB")
        .parse::<usize>()
        .unwrap()
        << 10
}

/// A key.
const KEY: &[u8] = &[1; 32];

/// Another.
const OTHER: &[u8] = &[2; 16];
