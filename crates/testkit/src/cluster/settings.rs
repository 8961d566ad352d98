//! What a node is told.

use std::fmt::Write as _;
use std::net::Ipv4Addr;

use super::Place;
use crate::process::Launch;

/// What a node is told, for its next start.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Its `node_name`.
    pub name: String,
    /// Where its names point.
    pub host_ip: Ipv4Addr,
    /// Its `cluster_seeds`; none for discovery.
    pub seeds: Vec<String>,
    /// Its `cluster_port`.
    pub gossip_port: u16,
    /// Further properties of `docker-cluster`, a line each.
    pub properties: Vec<String>,
    /// Its environment.
    pub environment: Vec<(String, String)>,
    /// A Corefile to use instead, in which [`Self::DOCKER_SOCKET`] and
    /// [`Self::HOST_IP`] are filled in.
    pub corefile: Option<String>,
}

// === impl Settings ===

impl Settings {
    /// Stands in a Corefile for the address of the node's engine.
    pub const DOCKER_SOCKET: &str = "DOCKER_SOCKET";
    /// Stands in a Corefile for the address that the node's names point to.
    pub const HOST_IP: &str = "HOST_IP";

    /// What the node with a number is told unless the test has other ideas.
    pub fn new(number: usize) -> Self {
        let last = u8::try_from(number + 1).unwrap_or(u8::MAX);
        Self {
            name: format!("node{}", number + 1),
            host_ip: Ipv4Addr::new(192, 0, 2, last),
            seeds: Vec::new(),
            gossip_port: GOSSIP_PORT,
            properties: Vec::new(),
            environment: Vec::new(),
            corefile: None,
        }
    }

    /// Adds a property of `docker-cluster`.
    pub fn property(&mut self, line: &str) {
        self.properties.push(line.to_owned());
    }

    /// Sets a variable of the environment.
    pub fn set(&mut self, name: &str, value: &str) {
        self.environment.retain(|(other, _)| other != name);
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    /// Tells a program all that.
    pub(super) fn apply(&self, launch: Launch, place: &Place, socket: &str) -> Launch {
        let corefile = self.text(place, socket);
        self.environment
            .iter()
            .fold(launch.corefile(&corefile), |launch, (name, value)| {
                launch.env(name, value)
            })
    }

    /// The Corefile of a node at a place.
    pub(super) fn text(&self, place: &Place, socket: &str) -> String {
        match &self.corefile {
            Some(text) => text
                .replace(Self::DOCKER_SOCKET, socket)
                .replace(Self::HOST_IP, &self.host_ip.to_string()),
            None => self.generate(place, socket),
        }
    }

    /// The Corefile of a node that has none of its own.
    fn generate(&self, place: &Place, socket: &str) -> String {
        let mut text = format!(".:{} {{\n", place.dns.port());
        if place.namespace.is_none() {
            let _ = writeln!(text, "    bind {}", place.ip);
        }
        let _ = writeln!(text, "    docker-cluster {{");
        let mut property = |line: &str| {
            let _ = writeln!(text, "        {line}");
        };
        property(&format!("docker_socket {socket}"));
        property(&format!("host_ip {}", self.host_ip));
        property("ttl 60\n        linger 0s\n        unknown_action nxdomain");
        property("cluster_enabled true");
        property(&format!("cluster_port {}", self.gossip_port));
        if place.namespace.is_none() {
            property(&format!("cluster_bind_addr {}", place.ip));
        }
        if !self.seeds.is_empty() {
            property(&format!("cluster_seeds {}", self.seeds.join(",")));
        }
        property(&format!("node_name {}", self.name));
        for line in &self.properties {
            property(line);
        }
        text.push_str("    }\n    errors\n");
        for endpoint in ["health", "ready", "prometheus"] {
            let _ = writeln!(text, "    {endpoint} {}", place.admin);
        }
        text.push_str("}\n");
        text
    }
}

/// Port of the gossip unless a test says otherwise.
const GOSSIP_PORT: u16 = 7946;
