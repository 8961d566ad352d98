//! Containers that come and go all over a cluster.

use super::Cluster;
use super::Dice;

/// Starts and stops containers at random, of which some share their names
/// with containers of other nodes.
#[derive(Debug)]
pub struct Churn {
    /// What comes next.
    dice: Dice,
    /// Names that there are.
    names: usize,
    /// Changes so far.
    changes: usize,
}

// === impl Churn ===

impl Churn {
    /// Churn among so many names; a seed gives the same in every run.
    pub fn new(seed: u64, names: usize) -> Self {
        Self {
            dice: Dice::new(seed),
            names,
            changes: 0,
        }
    }

    /// Starts or stops a container at one of the nodes.
    ///
    /// A container is the one of its node with that name: if it runs, it is
    /// stopped.
    pub fn step(&mut self, cluster: &mut Cluster) {
        let number = self.dice.below(cluster.nodes().len());
        let name = format!("churn{}.cluster.test", self.dice.below(self.names));
        let node = cluster.node_mut(number);
        if node.containers().contains_key(&name) {
            node.destroy(&name);
        } else {
            node.run(&name, &[&name]);
        }
        self.changes += 1;
    }

    /// How many changes there were.
    pub fn changes(&self) -> usize {
        self.changes
    }
}
