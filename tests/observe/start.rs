//! How soon the first answer comes.

use std::time::Duration;

use anyhow::ensure;
use hickory_proto::rr::RecordType;
use portolan_testkit::client::Client;
use portolan_testkit::docker::FakeContainer;
use portolan_testkit::docker::FakeDocker;
use portolan_testkit::process::PATIENCE;
use portolan_testkit::process::clock;
use portolan_testkit::process::pause;

use crate::cli::site::Ports;
use crate::support::portolan;

/// Starts a server; the time from there to the first answer.
fn time_to_answer(corefile: &str, name: &str) -> anyhow::Result<Duration> {
    let ports = Ports::choose();
    let launch = portolan().corefile(&ports.fill(corefile));
    let client = Client::udp(ports.server()).timeout(Duration::from_millis(50));
    let start = clock();
    let process = launch.start()?;
    while start.elapsed() < PATIENCE {
        if client
            .query(name, RecordType::A)
            .is_ok_and(|answer| !answer.answers.is_empty())
        {
            return Ok(start.elapsed());
        }
        pause(Duration::from_millis(1));
    }
    anyhow::bail!("no answer:\n{}", process.lines().join("\n"))
}

#[test]
fn timing_the_first_answer_from_a_hosts_file_comes_within_a_second() -> anyhow::Result<()> {
    let corefile = ".:@dns {
    bind 127.0.0.1
    errors
    health 127.0.0.1:@health
    prometheus 127.0.0.1:@metrics
    forward . 127.0.0.1:1
    cache
    hosts {
        192.0.2.1 a.example
        fallthrough
    }
}
";
    let taken = time_to_answer(corefile, "a.example")?;
    println!("first answer from a hosts file after {taken:?}");
    ensure!(taken < Duration::from_secs(1), "{taken:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn timing_the_first_answer_about_a_container_comes_within_a_second() -> anyhow::Result<()> {
    let directory = tempfile::tempdir()?;
    let docker = FakeDocker::start(directory.path().join("docker.sock"))?;
    for number in 0..1000 {
        let name = format!("c{number}.example");
        let id = format!("id{number}");
        docker
            .control()
            .put(FakeContainer::new(&id, "joyride.host.name", &name));
    }
    let corefile = format!(
        ".:@dns {{\n bind 127.0.0.1\n docker-cluster {{\n docker_socket unix://{}\n host_ip \
         192.0.2.5\n fallthrough\n }}\n}}\n",
        docker.path().display()
    );
    let taken = time_to_answer(&corefile, "c999.example")?;
    println!("first answer about one of 1000 containers after {taken:?}");
    ensure!(taken < Duration::from_secs(1), "{taken:?}");
    Ok(())
}

#[test]
fn timing_an_engine_that_says_nothing_does_not_hold_up_the_start() -> anyhow::Result<()> {
    let directory = tempfile::tempdir()?;
    let socket = directory.path().join("docker.sock");
    // Accepts connections and never answers.
    let listener = std::os::unix::net::UnixListener::bind(&socket)?;
    let corefile = format!(
        ".:@dns {{\n bind 127.0.0.1\n docker-cluster {{\n docker_socket unix://{}\n host_ip \
         192.0.2.5\n fallthrough\n }}\n hosts {{\n 192.0.2.1 a.example\n fallthrough\n }}\n}}\n",
        socket.display()
    );
    let taken = time_to_answer(&corefile, "a.example")?;
    println!("first answer beside a silent engine after {taken:?}");
    ensure!(taken < Duration::from_secs(1), "{taken:?}");
    drop(listener);
    Ok(())
}
