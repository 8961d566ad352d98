//! YAML to a document.

use std::collections::HashMap;

use saphyr_parser::Event;
use saphyr_parser::Parser;
use saphyr_parser::ScanError;

use super::document::Document;
use super::document::Node;
use super::document::NodeId;
use super::document::TooComplex;

/// Why a text is no YAML that can be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum YamlError {
    /// It is none.
    #[error("line {}: {}", .0.marker().line(), .0.info())]
    Syntax(#[from] ScanError),
    /// It is too large.
    #[error(transparent)]
    TooComplex(#[from] TooComplex),
}

/// A document that is being read.
struct Composer<'a> {
    /// The nodes so far.
    document: Document<'a>,
    /// Lists and maps that have not ended, and the key of a map that waits
    /// for its value.
    open: Vec<(NodeId, Option<NodeId>)>,
    /// Nodes that aliases may stand for.
    anchors: HashMap<usize, NodeId>,
}

/// Reads the first document of a text, as Traefik does.
pub(crate) fn parse(text: &str) -> Result<Document<'_>, YamlError> {
    let mut composer = Composer {
        document: Document::new(),
        open: Vec::new(),
        anchors: HashMap::new(),
    };
    for event in Parser::new_from_str(text) {
        let (event, _) = event?;
        if event == Event::DocumentEnd {
            break;
        }
        composer.take(event)?;
    }
    Ok(composer.document)
}

// === impl Composer ===

impl<'a> Composer<'a> {
    /// Takes what comes next.
    fn take(&mut self, event: Event<'a>) -> Result<(), TooComplex> {
        match event {
            Event::Scalar(text, _, anchor, _) => {
                self.add(Node::Text(text), anchor)?;
            }
            Event::SequenceStart(anchor, _) => {
                let id = self.add(Node::List(Vec::new()), anchor)?;
                self.open.push((id, None));
            }
            Event::MappingStart(anchor, _) => {
                let id = self.add(Node::Map(Vec::new()), anchor)?;
                self.open.push((id, None));
            }
            Event::SequenceEnd | Event::MappingEnd => {
                self.open.pop();
            }
            Event::Alias(anchor) => {
                if let Some(&id) = self.anchors.get(&anchor) {
                    self.attach(id);
                }
            }
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd => {}
        }
        Ok(())
    }

    /// Adds a node where the last one left off; 0 is no anchor.
    fn add(&mut self, node: Node<'a>, anchor: usize) -> Result<NodeId, TooComplex> {
        let id = self.document.add(node)?;
        if anchor != 0 {
            self.anchors.insert(anchor, id);
        }
        self.attach(id);
        Ok(id)
    }

    /// Makes a node the next part of the innermost list or map.
    fn attach(&mut self, id: NodeId) {
        let Some((parent, key)) = self.open.last_mut() else {
            return;
        };
        match self.document.node_mut(*parent) {
            Some(Node::List(items)) => items.push(id),
            Some(Node::Map(entries)) => match key.take() {
                Some(key) => entries.push((key, id)),
                None => *key = Some(id),
            },
            Some(Node::Text(_)) | None => {}
        }
    }
}
