//! A YAML document as far as it matters here: texts, lists and maps.
//!
//! All nodes stand in one list and refer to one another by number, so that an
//! alias costs no more than any node, whatever it stands for, and nothing
//! recurses. Aliases may lead in circles and merge keys (`<<`) may multiply;
//! each step of a look-up is paid from one purse for the whole document.

use std::borrow::Cow;
use std::cell::Cell;
use std::collections::HashSet;

/// A document.
#[derive(Debug)]
pub(crate) struct Document<'a> {
    /// The nodes; the first is the root.
    nodes: Vec<Node<'a>>,
    /// Steps that look-ups have left.
    purse: Cell<usize>,
}

/// One node.
#[derive(Debug)]
pub(crate) enum Node<'a> {
    /// A text, a number or what else is written as such.
    Text(Cow<'a, str>),
    /// A list.
    List(Vec<NodeId>),
    /// A map. The order is that of the text.
    Map(Vec<(NodeId, NodeId)>),
}

/// Number of a node.
pub(crate) type NodeId = usize;

/// A document costs too much to look through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many nodes or references")]
pub(crate) struct TooComplex;

// === impl Document ===

impl<'a> Document<'a> {
    /// A document without a node.
    pub(crate) fn new() -> Self {
        Self {
            nodes: Vec::new(),
            purse: Cell::new(MAX_STEPS),
        }
    }

    /// Adds a node.
    pub(crate) fn add(&mut self, node: Node<'a>) -> Result<NodeId, TooComplex> {
        if self.nodes.len() == MAX_NODES {
            return Err(TooComplex);
        }
        self.nodes.push(node);
        Ok(self.nodes.len() - 1)
    }

    /// A node, to be changed.
    pub(crate) fn node_mut(&mut self, id: NodeId) -> Option<&mut Node<'a>> {
        self.nodes.get_mut(id)
    }

    /// The root, if there is anything.
    pub(crate) fn root(&self) -> Option<NodeId> {
        (!self.nodes.is_empty()).then_some(0)
    }

    /// The text of a node that is one.
    pub(crate) fn text(&self, id: NodeId) -> Option<&str> {
        match self.nodes.get(id) {
            Some(Node::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// The value of a key of a map, whatever its case: Traefik has it so. A
    /// node that is no map has no keys.
    pub(crate) fn value(&self, map: NodeId, key: &str) -> Result<Option<NodeId>, TooComplex> {
        let mut found = None;
        self.visit(map, |name, value| {
            if name.eq_ignore_ascii_case(key) {
                found = Some(value);
            }
            found.is_none()
        })?;
        Ok(found)
    }

    /// The keys and values of a map, each key once.
    pub(crate) fn entries(&self, map: NodeId) -> Result<Vec<(&str, NodeId)>, TooComplex> {
        let mut seen = HashSet::new();
        let mut entries = Vec::new();
        self.visit(map, |name, value| {
            if seen.insert(name) {
                entries.push((name, value));
            }
            true
        })?;
        Ok(entries)
    }

    /// Visits the entries of a map, then those of maps that are merged into
    /// it, nearest first, for as long as the visitor goes on.
    fn visit<'d>(
        &'d self,
        map: NodeId,
        mut visitor: impl FnMut(&'d str, NodeId) -> bool,
    ) -> Result<(), TooComplex> {
        let mut visited = HashSet::new();
        let mut waiting = vec![map];
        while let Some(id) = waiting.pop() {
            self.pay()?;
            if !visited.insert(id) {
                continue;
            }
            match self.nodes.get(id) {
                Some(Node::Map(entries)) => {
                    for &(key, value) in entries {
                        self.pay()?;
                        let Some(name) = self.text(key) else {
                            continue;
                        };
                        if name == MERGE {
                            waiting.push(value);
                        } else if !visitor(name, value) {
                            return Ok(());
                        }
                    }
                }
                // Only a merge key leads to a list: of maps to merge.
                Some(Node::List(maps)) if id != map => {
                    for &map in maps.iter().rev() {
                        self.pay()?;
                        waiting.push(map);
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Pays for one step.
    fn pay(&self) -> Result<(), TooComplex> {
        let left = self.purse.get().checked_sub(1).ok_or(TooComplex)?;
        self.purse.set(left);
        Ok(())
    }
}

/// The key that merges other maps into a map.
const MERGE: &str = "<<";

/// Nodes of one document.
const MAX_NODES: usize = 1 << 18;

/// Steps of all look-ups in one document.
const MAX_STEPS: usize = 1 << 22;
