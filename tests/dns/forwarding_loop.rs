//! Upstreams that ask the server what it asks them.

use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::time::Duration;

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;
use portolan_testkit::client::Client;
use portolan_testkit::process::Launch;
use portolan_testkit::process::PATIENCE;
use portolan_testkit::process::clock;
use portolan_testkit::process::free_port;
use portolan_testkit::process::pause;
use portolan_testkit::process::wait_for;
use portolan_testkit::upstream::Reply;

use super::answer::addresses;
use super::answer::ips;
use super::answer::rcode;
use super::server::Server;
use super::upstream::Upstream;
use super::upstream::after;
use crate::support::needs;

/// How long it takes at most until a loop is found, on a machine that has
/// time for it.
const SOON: Duration = Duration::from_secs(2);

/// What is logged about it.
const TOLD: &str = "forwarding loop: upstream asks";

#[test]
fn a_server_that_is_its_own_upstream_fails_soon_and_says_so_once() -> anyhow::Result<()> {
    let server = Server::start(".:PORT {\n errors\n loop\n forward . 127.0.0.1:PORT\n}\n")?;
    assert!(fails_soon(&server)?, "{}", server.output());
    is_over(&[&server])
}

#[test]
fn servers_that_ask_each_other_fail_soon() -> anyhow::Result<()> {
    let other = free_port();
    let first = Server::start(&format!(
        ".:PORT {{\n errors\n forward . 127.0.0.1:{other}\n}}\n\
         own.test:PORT {{\n hosts {{\n 192.0.2.7 a.own.test\n }}\n}}\n"
    ))?;
    let second = Server::start(&format!(
        ".:{other} {{\n errors\n forward . {}\n}}\n",
        first.addr()
    ))?;
    assert!(fails_soon(&first)?, "{}", first.output());
    let response = first.udp().query("a.own.test", RecordType::A)?;
    assert_eq!(addresses(&response), ips(&["192.0.2.7"]));
    is_over(&[&first])?;
    assert!(second.output().matches(TOLD).count() <= 1);
    Ok(())
}

#[test]
fn a_loop_through_a_router_is_found_wherever_it_asks_from() -> anyhow::Result<()> {
    if !needs(&["dnsmasq"]) {
        return Ok(());
    }
    // An upstream that asks from where it is asked, and one that has more
    // addresses than that.
    for from in ["127.0.0.2", "127.0.0.3"] {
        let router = SocketAddr::from((Ipv4Addr::new(127, 0, 0, 2), free_port()));
        let server = Server::start(&format!(
            ".:PORT {{\n errors\n cache\n forward . {router}\n}}\n"
        ))?;
        let _dnsmasq = Launch::new("/usr/sbin/dnsmasq")
            .args([
                "-k",
                "-C",
                "/dev/null",
                "--no-resolv",
                "--no-hosts",
                "--log-facility=-",
                "--pid-file",
                "--user=root",
                "--bind-interfaces",
                "--listen-address=127.0.0.2",
                &format!("--port={}", router.port()),
                &format!("--server=127.0.0.1#{}@{from}", server.addr().port()),
                "--address=/router.test/192.0.2.1",
            ])
            .start()?;
        let asked = || Client::udp(router).query("router.test", RecordType::A).ok();
        wait_for(asked).expect("the router serves");
        assert!(fails_soon(&server)?, "{from}: {}", server.output());
        // What the router does not send back is not affected.
        let response = server.udp().query("router.test", RecordType::A)?;
        assert_eq!(addresses(&response), ips(&["192.0.2.1"]));
        is_over(&[&server])?;
    }
    Ok(())
}

#[test]
fn a_loop_through_another_block_fails_soon() -> anyhow::Result<()> {
    let other = free_port();
    let upstream = Upstream::answering(60)?;
    let server = Server::start(&format!(
        ".:PORT {{\n errors\n forward . 127.0.0.1:{other}\n}}\n\
         good.test:PORT {{\n forward . {}\n}}\n\
         .:{other} {{\n errors\n forward . 127.0.0.1:PORT\n}}\n",
        upstream.addr()
    ))?;
    assert!(fails_soon(&server)?, "{}", server.output());
    let response = server.udp().query("a.good.test", RecordType::A)?;
    assert_eq!(addresses(&response), ips(&["192.0.2.1"]));
    let told = || server.output().matches(TOLD).count();
    wait_for(|| (told() > 0).then_some(()));
    assert!((1..=2).contains(&told()), "{}", server.output());
    is_idle(&server)
}

#[test]
fn a_block_that_asks_another_block_is_no_loop() -> anyhow::Result<()> {
    let other = free_port();
    // Slow enough for a look, and many who ask.
    let upstream =
        Upstream::start(|query| after(1900, Reply::to(query).a([192, 0, 2, 1], 60).send()))?;
    let server = Server::start(&format!(
        ".:PORT {{\n forward . 127.0.0.1:{other}\n}}\n\
         .:{other} {{\n forward . {} {{\n read_timeout 3s\n }}\n}}\n",
        upstream.addr()
    ))?;
    let found = (0..5).any(|index| {
        let name = &format!("n{index}.test");
        std::thread::scope(|scope| {
            let ask = || server.udp().timeout(PATIENCE).query(name, RecordType::A);
            let asking = [(); 3].map(|()| scope.spawn(ask));
            asking.into_iter().all(|asked| {
                let response = asked.join().expect("no panic");
                response.is_ok_and(|response| rcode(&response) == ResponseCode::NoError)
            })
        })
    });
    assert!(found, "{}", server.output());
    assert!(!server.output().contains(TOLD), "{}", server.output());
    Ok(())
}

/// Whether names fail, three of them soon. Not all have to be: the machine may
/// have other things to do.
fn fails_soon(server: &Server) -> anyhow::Result<bool> {
    let mut soon = 0;
    for index in 0..20 {
        let start = clock();
        let response = server
            .udp()
            .timeout(PATIENCE)
            .query(&format!("{index}.example"), RecordType::A)?;
        assert_eq!(rcode(&response), ResponseCode::ServFail);
        soon += usize::from(start.elapsed() < SOON);
        if soon == 3 {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Each server has told the loop once, and nothing goes round any more.
fn is_over(servers: &[&Server]) -> anyhow::Result<()> {
    for server in servers {
        let told = || server.output().matches(TOLD).count();
        wait_for(|| (told() > 0).then_some(()));
        assert_eq!(told(), 1, "{}", server.output());
        is_idle(server)?;
    }
    Ok(())
}

/// Nothing goes round any more.
fn is_idle(server: &Server) -> anyhow::Result<()> {
    let used = server.cpu_seconds()?;
    pause(Duration::from_secs(2));
    assert!(server.cpu_seconds()? - used < 0.5, "still going round");
    Ok(())
}
