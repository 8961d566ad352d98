//! Several nodes.

use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use anyhow::bail;

use super::Node;
use super::Place;
use super::Settings;
use super::Truth;
use super::Verdict;
use super::place::next_cluster;
use crate::netns::Network;
use crate::process::clock;
use crate::process::pause;

/// Several nodes, numbered from 0, of which the first two are the seeds of
/// all. Each has one container from the start, `self`, which is named
/// [`Cluster::own_name`].
#[derive(Debug)]
pub struct Cluster {
    /// The nodes. They end before their network does.
    nodes: Vec<Node>,
    /// What joins them; none on loopback.
    network: Option<Network>,
}

// === impl Cluster ===

impl Cluster {
    /// Nodes on loopback addresses, none of them started.
    ///
    /// # Errors
    ///
    /// If there are no sockets to be had.
    pub fn on_loopback(binary: &Path, count: usize) -> anyhow::Result<Self> {
        let cluster = next_cluster();
        let places = (0..count).map(|number| Place::on_loopback(cluster, number));
        Self::new(binary, places.collect(), None)
    }

    /// Nodes that have a host each, none of them started.
    ///
    /// # Errors
    ///
    /// If this process may not make networks; see [`crate::netns::check`].
    pub fn on_hosts(binary: &Path, count: usize) -> anyhow::Result<Self> {
        let network = Network::start(count)?;
        let place = |host| Place::on_host(network.namespace(host), network.address(host));
        let places = (0..count).map(place).collect();
        Self::new(binary, places, Some(network))
    }

    /// The name of the container that a node has from the start.
    pub fn own_name(number: usize) -> String {
        format!("self{number}.cluster.test")
    }

    /// Numbers of all nodes.
    pub fn all(&self) -> Vec<usize> {
        (0..self.nodes.len()).collect()
    }

    /// Numbers of all nodes but one.
    pub fn all_but(&self, number: usize) -> Vec<usize> {
        let mut all = self.all();
        all.retain(|other| *other != number);
        all
    }

    /// The nodes.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The nodes, to do something to each.
    pub fn nodes_mut(&mut self) -> &mut [Node] {
        &mut self.nodes
    }

    /// A node.
    ///
    /// # Panics
    ///
    /// If there is no such node.
    pub fn node(&self, number: usize) -> &Node {
        &self.nodes[number]
    }

    /// A node, to do something to it.
    ///
    /// # Panics
    ///
    /// If there is no such node.
    pub fn node_mut(&mut self, number: usize) -> &mut Node {
        &mut self.nodes[number]
    }

    /// What joins the hosts.
    ///
    /// # Errors
    ///
    /// If the nodes are on loopback.
    pub fn network(&mut self) -> anyhow::Result<&mut Network> {
        self.network.as_mut().context("there is no network")
    }

    /// Starts all nodes at once, and waits until each knows the names of all.
    ///
    /// # Errors
    ///
    /// If a node does not start, or they do not find each other.
    pub fn start(&mut self) -> anyhow::Result<Duration> {
        self.nodes.iter_mut().try_for_each(Node::start)?;
        self.nodes.iter().try_for_each(Node::await_ready)?;
        let all = self.all();
        self.settle(&all, &self.truth(&all), JOINED)
    }

    /// What ought to be answered while these nodes are there, and no others.
    pub fn truth(&self, alive: &[usize]) -> Truth {
        let mut truth = Truth::default();
        for (number, node) in self.nodes.iter().enumerate() {
            for name in node.known() {
                truth.forget(name);
            }
            if alive.contains(&number) {
                for name in node.containers().values().flatten() {
                    truth.add(name, node.settings.host_ip);
                }
            }
        }
        truth
    }

    /// Asks these nodes for every name, once.
    ///
    /// # Errors
    ///
    /// If an answer cannot be read.
    pub fn verdict(&self, at: &[usize], truth: &Truth) -> anyhow::Result<Verdict> {
        let mut verdict = Verdict::default();
        for number in at {
            let replies = self
                .node(*number)
                .probe()
                .sweep(&truth.names(), SWEEP_PATIENCE)?;
            truth.judge(*number, &replies, &mut verdict);
        }
        Ok(verdict)
    }

    /// Waits until these nodes answer every name as they ought to; tells how
    /// long it took.
    ///
    /// # Errors
    ///
    /// If it takes longer than `patience`.
    pub fn settle(
        &self,
        at: &[usize],
        truth: &Truth,
        patience: Duration,
    ) -> anyhow::Result<Duration> {
        let (elapsed, verdict) = self.try_settle(at, truth, patience)?;
        if verdict.is_flawless() {
            return Ok(elapsed);
        }
        let show = |number: &usize| {
            let node = self.node(*number);
            format!("{}\n{}", node.output(), node.show_members())
        };
        let shown: Vec<String> = at.iter().take(SHOWN).map(show).collect();
        bail!("after {elapsed:?}: {verdict}\n{}", shown.join("\n"));
    }

    /// As [`Self::settle`], but what is wrong in the end is no error.
    ///
    /// # Errors
    ///
    /// If an answer cannot be read.
    pub fn try_settle(
        &self,
        at: &[usize],
        truth: &Truth,
        patience: Duration,
    ) -> anyhow::Result<(Duration, Verdict)> {
        let start = clock();
        loop {
            let verdict = self.verdict(at, truth)?;
            let elapsed = start.elapsed();
            if verdict.is_flawless() || elapsed > patience {
                return Ok((elapsed, verdict));
            }
            pause(Duration::from_millis(2));
        }
    }

    /// Waits until these nodes answer a name with these addresses; tells for
    /// each how long after the call it first did.
    ///
    /// # Errors
    ///
    /// If it takes longer than `patience`.
    pub fn spread(
        &self,
        at: &[usize],
        name: &str,
        addresses: &[Ipv4Addr],
        patience: Duration,
    ) -> anyhow::Result<Vec<Duration>> {
        let start = clock();
        let mut truth = Truth::default();
        truth.forget(name);
        addresses.iter().for_each(|ip| truth.add(name, *ip));
        let mut waiting = at.to_vec();
        let mut times = Vec::new();
        while !waiting.is_empty() {
            let mut still = Vec::new();
            for number in waiting {
                if self.verdict(&[number], &truth)?.is_flawless() {
                    times.push(start.elapsed());
                } else {
                    still.push(number);
                }
            }
            waiting = still;
            if start.elapsed() > patience {
                // Says what is answered instead.
                self.settle(&waiting, &truth, Duration::ZERO)?;
            }
            pause(Duration::from_millis(1));
        }
        Ok(times)
    }

    /// Nodes at places.
    fn new(binary: &Path, places: Vec<Place>, network: Option<Network>) -> anyhow::Result<Self> {
        let mut nodes = Vec::new();
        for (number, place) in places.into_iter().enumerate() {
            let mut node = Node::new(binary, place, Settings::new(number))?;
            node.put("self", &[&Self::own_name(number)]);
            nodes.push(node);
        }
        let seeds: Vec<String> = nodes.iter().take(2).map(Node::seed).collect();
        for node in &mut nodes {
            node.settings.seeds.clone_from(&seeds);
        }
        Ok(Self { nodes, network })
    }
}

/// So many nodes are shown when something is wrong.
const SHOWN: usize = 3;

/// How long nodes may take to find each other.
const JOINED: Duration = Duration::from_secs(20);

/// How long a node may take to answer all questions of a sweep.
const SWEEP_PATIENCE: Duration = Duration::from_secs(5);
