//! Hosts joined by a switch.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::sync::Arc;

use anyhow::Context as _;

use super::Namespace;
use super::filter;

/// Hosts joined by a switch, a /24 of their own.
///
/// They are numbered from 0; [`Network::address`] of each ends in its number
/// plus 1. The default route of each leads to the switch, which forwards
/// nothing.
#[derive(Debug)]
pub struct Network {
    /// The switch.
    switch: Namespace,
    /// The hosts.
    hosts: Vec<Host>,
}

/// One host.
#[derive(Debug)]
struct Host {
    /// Its network.
    namespace: Arc<Namespace>,
    /// Numbers of the hosts that it does not hear.
    deaf_to: BTreeSet<usize>,
    /// The share of packets that it loses.
    loss: f64,
}

// === impl Network ===

impl Network {
    /// Joins so many hosts, 200 at most.
    ///
    /// # Errors
    ///
    /// If that is not allowed, or `ip` is missing.
    pub fn start(count: usize) -> anyhow::Result<Self> {
        let switch = Namespace::new()?;
        let gateway = address(GATEWAY);
        switch.run(
            &["ip", "-batch", "-"],
            &format!(
                "link set lo up\nlink add br0 type bridge\n\
                 addr add {gateway}/24 dev br0\nlink set br0 up\n"
            ),
        )?;
        let mut network = Self {
            switch,
            hosts: Vec::new(),
        };
        for _ in 0..count.min(GATEWAY) {
            network.add_host()?;
        }
        Ok(network)
    }

    /// How many hosts there are.
    pub fn len(&self) -> usize {
        self.hosts.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.hosts.is_empty()
    }

    /// The namespace of a host.
    ///
    /// # Panics
    ///
    /// If there is no such host.
    pub fn namespace(&self, host: usize) -> Arc<Namespace> {
        Arc::clone(&self.hosts[host].namespace)
    }

    /// The address of a host.
    #[expect(clippy::unused_self, reason = "every network has the same addresses")]
    pub fn address(&self, host: usize) -> Ipv4Addr {
        address(host)
    }

    /// Pulls the cable of a host.
    ///
    /// # Errors
    ///
    /// If `ip` fails.
    pub fn unplug(&self, host: usize) -> anyhow::Result<()> {
        self.set_port(host, "down")
    }

    /// Plugs the cable of a host in again.
    ///
    /// # Errors
    ///
    /// If `ip` fails.
    pub fn plug(&self, host: usize) -> anyhow::Result<()> {
        self.set_port(host, "up")
    }

    /// Lets nothing from one host get to another; the other way stays open.
    ///
    /// # Errors
    ///
    /// If `iptables` fails.
    pub fn block(&mut self, from: usize, to: usize) -> anyhow::Result<()> {
        self.host_mut(to)?.deaf_to.insert(from);
        self.apply(to)
    }

    /// Cuts two hosts off from each other; both hear all others.
    ///
    /// # Errors
    ///
    /// If `iptables` fails.
    pub fn cut(&mut self, one: usize, other: usize) -> anyhow::Result<()> {
        self.block(one, other)?;
        self.block(other, one)
    }

    /// Cuts the first `count` hosts off from the rest.
    ///
    /// # Errors
    ///
    /// If `iptables` fails.
    pub fn split(&mut self, count: usize) -> anyhow::Result<()> {
        let all = 0..self.hosts.len();
        for (number, host) in self.hosts.iter_mut().enumerate() {
            let is_far = |other: &usize| (*other < count) != (number < count);
            host.deaf_to.extend(all.clone().filter(is_far));
        }
        all.into_iter().try_for_each(|host| self.apply(host))
    }

    /// Lets all hosts hear each other again. Cables that are unplugged stay
    /// so.
    ///
    /// # Errors
    ///
    /// If `iptables` fails.
    pub fn heal(&mut self) -> anyhow::Result<()> {
        for number in 0..self.hosts.len() {
            self.host_mut(number)?.deaf_to.clear();
            self.apply(number)?;
        }
        Ok(())
    }

    /// Lets every host lose this share of the packets that come to it.
    ///
    /// # Errors
    ///
    /// If `iptables` fails.
    pub fn lose(&mut self, share: f64) -> anyhow::Result<()> {
        for number in 0..self.hosts.len() {
            self.host_mut(number)?.loss = share;
            self.apply(number)?;
        }
        Ok(())
    }

    /// Adds a host.
    fn add_host(&mut self) -> anyhow::Result<()> {
        let number = self.hosts.len();
        let namespace = Namespace::new()?;
        let path = namespace.path();
        let path = path.display();
        self.switch.run(
            &["ip", "-batch", "-"],
            &format!(
                "link add p{number} type veth peer name eth0 netns {path}\n\
                 link set p{number} master br0 up\n"
            ),
        )?;
        let mut batch = String::from("link set lo up\n");
        let _ = writeln!(batch, "addr add {}/24 brd + dev eth0", address(number));
        let _ = writeln!(batch, "link set eth0 up");
        let _ = writeln!(batch, "route add default via {}", address(GATEWAY));
        namespace.run(&["ip", "-batch", "-"], &batch)?;
        self.hosts.push(Host {
            namespace: Arc::new(namespace),
            deaf_to: BTreeSet::new(),
            loss: 0.0,
        });
        Ok(())
    }

    /// Sets the state of the port of a host at the switch.
    fn set_port(&self, host: usize, state: &str) -> anyhow::Result<()> {
        let port = format!("p{host}");
        self.switch
            .run(&["ip", "link", "set", &port, state], "")
            .map(drop)
    }

    /// A host.
    fn host_mut(&mut self, number: usize) -> anyhow::Result<&mut Host> {
        self.hosts.get_mut(number).context("no such host")
    }

    /// Gives a host the filter that it shall have.
    fn apply(&self, number: usize) -> anyhow::Result<()> {
        let host = self.hosts.get(number).context("no such host")?;
        let deaf_to: Vec<Ipv4Addr> = host.deaf_to.iter().map(|other| address(*other)).collect();
        let rules = filter::rules(&deaf_to, host.loss);
        host.namespace.run(&["iptables-restore"], &rules).map(drop)
    }
}

/// The address of a host.
fn address(host: usize) -> Ipv4Addr {
    let last = u8::try_from(host + 1).unwrap_or(u8::MAX);
    Ipv4Addr::new(10, 99, 0, last)
}

/// Number that the switch would have if it were a host; more hosts there
/// cannot be.
const GATEWAY: usize = 200;
