//! An engine behind a proxy that lets nothing but reading through, as
//! deploy/compose/socket-proxy.yml has one.

use std::fs;
use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;

use anyhow::Context as _;
use anyhow::ensure;
use hickory_proto::op::ResponseCode;
use portolan_testkit::process::free_port;
use portolan_testkit::process::wait_for;
use tempfile::TempDir;

use super::engine::Engine;
use super::server::Server;
use crate::support::needs;

/// What the proxy lets through: the rules of the image in the compose file, with
/// its `CONTAINERS=1` and `POST=0`.
const RULES: &str = "\
global
    log stdout format raw local0
defaults
    mode http
    log global
    option httplog
    timeout http-request 10s
    timeout connect 10s
    timeout client 10m
    timeout server 10m
frontend proxy
    bind 127.0.0.1:PORT
    http-request deny unless METH_GET || METH_HEAD
    http-request allow if { path,url_dec -m reg -i ^(/v[\\d\\.]+)?/_ping }
    http-request allow if { path,url_dec -m reg -i ^(/v[\\d\\.]+)?/version }
    http-request allow if { path,url_dec -m reg -i ^(/v[\\d\\.]+)?/events }
    http-request allow if { path,url_dec -m reg -i ^(/v[\\d\\.]+)?/containers }
    http-request deny
    default_backend engine
backend engine
    server engine /var/run/docker.sock
";

/// An engine is reached through the proxy only.
const COREFILE: &str = "\
.:DNS_PORT {
    docker-cluster {
        docker_socket tcp://127.0.0.1:PROXY
        host_ip 192.168.16.61
        label NAMES_LABEL
        linger 0s
        unknown_action nxdomain
    }
}
";

/// A proxy that ends with the test.
struct Proxy {
    /// The process.
    child: Child,
    /// Where it listens.
    port: u16,
    /// Its rules and what it logs.
    directory: TempDir,
}

// === impl Proxy ===

impl Proxy {
    /// Starts one in front of the engine of this machine.
    fn start() -> anyhow::Result<Self> {
        let directory = TempDir::new()?;
        let port = free_port();
        let rules = directory.path().join("haproxy.cfg");
        fs::write(&rules, RULES.replace("PORT", &port.to_string()))?;
        let log = fs::File::create(directory.path().join("log"))?;
        let child = Command::new("haproxy")
            .args(["-db", "-f"])
            .arg(&rules)
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        let proxy = Self {
            child,
            port,
            directory,
        };
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        wait_for(|| TcpStream::connect(address).ok()).with_context(|| proxy.log())?;
        Ok(proxy)
    }

    /// What it logged.
    fn log(&self) -> String {
        let path: PathBuf = self.directory.path().join("log");
        fs::read_to_string(path).unwrap_or_default()
    }

    /// Its command line.
    fn engine(&self) -> Engine {
        Engine::at(&format!("tcp://127.0.0.1:{}", self.port))
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[test]
fn a_proxy_that_lets_reading_through_is_enough() -> anyhow::Result<()> {
    if !needs(&["haproxy"]) {
        return Ok(());
    }
    let Some(engine) = Engine::of_this_machine()? else {
        return Ok(());
    };
    let listed = engine.run_named("listed.example.org")?;
    let proxy = Proxy::start()?;
    let server = Server::start(&COREFILE.replace("PROXY", &proxy.port.to_string()))?;
    server.await_host("listed.example.org")?;
    let told = engine.run_named("told.example.org")?;
    server.await_host("told.example.org")?;
    listed.remove()?;
    server.await_rcode("listed.example.org", ResponseCode::NXDomain)?;
    let log = proxy.log();
    ensure!(log.contains("/containers/"), "{log}");
    ensure!(!log.contains(" 403 "), "{log}");

    // It does forbid what the server does not need.
    let forbidden = proxy.engine().docker(&["rm", "--force", told.name()]);
    ensure!(forbidden.is_err(), "the proxy lets anything through");
    server.await_host("told.example.org")?;
    ensure!(proxy.log().contains(" 403 "), "{}", proxy.log());
    Ok(())
}
