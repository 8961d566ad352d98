//! A process that may open few files.

use std::io::Write as _;
use std::net::TcpStream;
use std::time::Duration;

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;
use portolan_testkit::process::Launch;
use portolan_testkit::process::clock;
use portolan_testkit::process::pause;

use super::answer::rcode;
use super::server::Server;
use super::upstream::Upstream;

/// How many files it may have open.
const DESCRIPTORS: &str = "64";

/// The server, under the limit.
fn launch() -> Launch {
    let script = format!("ulimit -n {DESCRIPTORS} && exec \"$0\"");
    Launch::new("/bin/sh")
        .args(["-c", &script, env!("CARGO_BIN_EXE_portolan")])
        .file("hosts", "192.0.2.1 local.test\n")
}

#[test]
fn timing_too_many_connections_leave_room_for_queries() -> anyhow::Result<()> {
    let upstream = Upstream::answering(0)?;
    let corefile = format!(
        ".:PORT {{\n hosts hosts {{\n fallthrough\n }}\n forward . {}\n}}\n",
        upstream.addr()
    );
    let server = Server::launch(launch, &corefile)?;
    // Those that are turned away count as well. Every second says something,
    // and never goes on.
    let open: Vec<_> = (0..300)
        .filter_map(|number| {
            let mut stream = TcpStream::connect(server.addr()).ok()?;
            let said = stream.write_all(&[0][..number % 2]);
            Some((stream, said.is_ok()))
        })
        .collect();
    assert!(open.len() >= 200, "{}", open.len());
    pause(Duration::from_millis(200));
    let (start, used) = (clock(), server.cpu_seconds()?);
    for round in 0..40 {
        let local = server.udp().query("local.test", RecordType::A)?;
        assert_eq!(rcode(&local), ResponseCode::NoError);
        let outside = server
            .udp()
            .query(&format!("n{round}.outside"), RecordType::A)?;
        assert_eq!(
            rcode(&outside),
            ResponseCode::NoError,
            "{}",
            server.output()
        );
        if round % 10 == 0 {
            let response = server.tcp().query("local.test", RecordType::A)?;
            assert_eq!(rcode(&response), ResponseCode::NoError);
        }
        pause(Duration::from_millis(100));
    }
    let spent = (server.cpu_seconds()? - used) / start.elapsed().as_secs_f64();
    eprintln!("300 connections for 64 files: {spent:.3} of a processor");
    assert!(spent < 0.1, "{spent} of a processor");
    Ok(())
}
