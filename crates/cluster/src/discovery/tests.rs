use tokio::time::timeout;

use super::*;

#[tokio::test]
async fn two_servers_of_one_host_and_one_name_find_each_other() {
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    let port = free_port();
    let ids = [MemberId::new("node1", 1), MemberId::new("node1", 2)];
    let began = Instant::now();
    let mut a = start(plan(port, &ids[0], 7_946), &tasks, stop.clone());
    let mut b = start(plan(port, &ids[1], 7_947), &tasks, stop.clone());
    assert_eq!(next(&mut a).await, member(&ids[1], 7_947));
    assert_eq!(next(&mut b).await, member(&ids[0], 7_946));
    println!("found after {:?}", began.elapsed());
    stop.cancel();
    tasks.close();
    timeout(Duration::from_secs(1), tasks.wait()).await.unwrap();
}

#[tokio::test]
async fn a_joyride_server_is_heard_and_junk_is_not() {
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    let port = free_port();
    let mut heard = start(
        plan(port, &MemberId::new("a", 1), 7_946),
        &tasks,
        stop.clone(),
    );
    let other = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let to = SocketAddr::from(([127, 0, 0, 1], port));
    for n in 0..100_000_u32 {
        let junk = match n % 4 {
            0 => format!("{{{n}"),
            1 => format!(r#"{{"m":"COREDNS-CLUSTER","n":"{n}","p":0}}"#),
            2 => "{".repeat(600),
            _ => n.to_string(),
        };
        drop(other.try_send_to(junk.as_bytes(), to));
        if n % 32 == 0 {
            tokio::task::yield_now().await;
        }
    }
    let began = Instant::now();
    let joyride = br#"{"m":"COREDNS-CLUSTER","n":"node1","p":7946}"#;
    let mut told = None;
    while told.is_none() && began.elapsed() < Duration::from_secs(5) {
        other.send_to(joyride, to).await.unwrap();
        told = timeout(Duration::from_millis(100), heard.recv())
            .await
            .ok()
            .flatten();
    }
    let address = SocketAddr::from(([127, 0, 0, 1], 7_946));
    let name = "node1".to_owned();
    assert_eq!(told, Some(Heard::Joyride { name, address }));
    assert!(heard.try_recv().is_err());
    stop.cancel();
}

#[tokio::test]
async fn a_stranger_is_answered_at_once() {
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    let port = free_port();
    let id = MemberId::new("a", 1);
    let mut quiet = plan(port, &id, 7_946);
    quiet.targets = Targets::These(Vec::new());
    quiet.listen = SocketAddrV4::new(Ipv4Addr::new(127, 45, 0, 1), port);
    let _heard = start(quiet, &tasks, stop.clone());
    let stranger = UdpSocket::bind(("127.45.0.2", port)).await.unwrap();
    let packet = Packet::new(&MemberId::new("b", 2), 7_947).encode();
    sleep(Duration::from_millis(50)).await;
    stranger
        .send_to(&packet, ("127.45.0.1", port))
        .await
        .unwrap();
    let mut buffer = [0; 600];
    let answer = timeout(Duration::from_secs(1), stranger.recv_from(&mut buffer));
    let (length, _) = answer.await.unwrap().unwrap();
    assert_eq!(
        Packet::parse(&buffer[..length]),
        Some(Packet::new(&id, 7_946))
    );
    stop.cancel();
}

#[tokio::test(start_paused = true)]
async fn a_port_in_use_is_tried_again() {
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    // Without SO_REUSEPORT, so that nobody else gets it.
    let taken = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    assert!(open(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port)).is_err());
    let id = MemberId::new("a", 1);
    let mut heard = start(plan(port, &id, 7_946), &tasks, stop.clone());
    sleep(Duration::from_secs(1)).await;
    drop(taken);
    sleep(RETRY).await;
    tokio::time::resume();
    let other = MemberId::new("b", 2);
    let _other = start(plan(port, &other, 7_947), &tasks, stop.clone());
    assert_eq!(next(&mut heard).await, member(&other, 7_947));
    stop.cancel();
}

#[tokio::test]
async fn broadcasts_go_everywhere_but_to_bridges() {
    let targets = Targets::Networks.addresses(8_889);
    assert_eq!(targets[0], "255.255.255.255:8889".parse().unwrap());
    assert!(targets.len() <= MAX_TARGETS);
    assert!(
        !targets.iter().any(|target| target.ip().is_loopback()),
        "{targets:?}"
    );
}

/// Discovery that stays on this host.
fn plan(port: u16, me: &MemberId, joined_at: u16) -> Plan {
    Plan {
        listen: SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port),
        targets: Targets::These(vec![Ipv4Addr::new(127, 255, 255, 255)]),
        packet: Packet::new(me, joined_at),
    }
}

async fn next(heard: &mut mpsc::Receiver<Heard>) -> Heard {
    timeout(Duration::from_secs(3), heard.recv())
        .await
        .unwrap()
        .unwrap()
}

fn member(id: &MemberId, port: u16) -> Heard {
    Heard::Member {
        id: id.clone(),
        address: SocketAddr::from(([127, 0, 0, 1], port)),
    }
}

fn free_port() -> u16 {
    let socket = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
    socket.local_addr().unwrap().port()
}
