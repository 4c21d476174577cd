//! YAML text to a tree of nodes that keep their source text, and what a scalar means to Go's yaml.v3.
//!
//! The tree is flat, so that neither deep nesting nor aliases cost more than the text they take. What yaml.v3 and YAML 1.2
//! read differently is refused.

mod read;
#[cfg(test)]
mod tests;

use std::ops::Range;

/// The index of a node in its document.
pub(super) type NodeId = usize;

/// Why a text is not YAML.
#[derive(Debug)]
pub(super) struct SyntaxError {
    /// In bytes of the text.
    pub(super) at: usize,
    pub(super) message: String,
    pub(super) hint: Option<&'static str>,
}

#[derive(Debug)]
pub(super) struct Document {
    /// In the order of the text; the first is the root.
    nodes: Vec<Node>,
    /// Where something follows in further documents, in bytes of the text.
    rest: Option<usize>,
}

#[derive(Debug)]
struct Node {
    kind: Kind,
    /// Neither in quotes nor a block scalar.
    is_plain: bool,
    tag: Option<String>,
    /// Where it is written, in bytes of the text; of a collection only the place where it begins.
    written: Range<usize>,
    /// The node after this one and all within it.
    end: NodeId,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// With its source text.
    Scalar(String),
    Sequence,
    Mapping,
    /// An alias of another node.
    Alias(NodeId),
}

/// The value that yaml.v3 gives a scalar. Numbers and dates are texts: no field of a stack file wants one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// `null`, `~` or no text.
    Null,
    Boolean(bool),
    Text,
    /// `<<` as a key.
    Merge,
    /// Base64.
    Binary,
    /// An explicit tag that the text does not fit.
    Unfit,
}

impl Document {
    /// Reads the first document of a text, as faas-cli does. The error is the first thing that is not YAML.
    pub(super) fn parse(text: &str) -> Result<Self, SyntaxError> {
        read::document(text)
    }

    pub(super) fn root(&self) -> NodeId {
        0
    }

    /// Where what follows the document begins, in bytes of the text; it is not looked at further.
    pub(super) fn rest(&self) -> Option<usize> {
        self.rest
    }

    fn node(&self, id: NodeId) -> &Node {
        // Ids are only made by this document; the root is always there.
        self.nodes.get(id).unwrap_or(&self.nodes[0])
    }

    pub(super) fn kind(&self, id: NodeId) -> &Kind {
        &self.node(id).kind
    }

    /// The node itself, or what it is an alias of.
    pub(super) fn resolve(&self, id: NodeId) -> NodeId {
        match self.kind(id) {
            Kind::Alias(target) => *target,
            _ => id,
        }
    }

    /// The nodes directly within a collection: items, or keys and values in turn.
    pub(super) fn children(&self, id: NodeId) -> impl Iterator<Item = NodeId> + '_ {
        let end = self.node(id).end;
        std::iter::successors(Some(id + 1), |child| Some(self.node(*child).end)).take_while(move |child| *child < end)
    }

    /// Keys and values of a mapping.
    pub(super) fn pairs(&self, id: NodeId) -> impl Iterator<Item = (NodeId, NodeId)> + '_ {
        let mut children = self.children(id);
        std::iter::from_fn(move || Some((children.next()?, children.next()?)))
    }

    /// Where a scalar or an alias is written, in bytes of the text, with its quotes; of a collection only where it begins.
    pub(super) fn written(&self, id: NodeId) -> Range<usize> {
        self.node(id).written.clone()
    }

    /// The place of a node and all within it, in bytes of the text.
    pub(super) fn extent(&self, id: NodeId) -> Range<usize> {
        let start = self.node(id).written.start;
        let end = self.nodes.get(id..self.node(id).end).unwrap_or_default().iter().map(|node| node.written.end).max();
        start..end.unwrap_or(start)
    }

    /// True if an alias refers to a node or to one within it.
    pub(super) fn has_alias(&self, id: NodeId) -> bool {
        let within = id..self.node(id).end;
        self.nodes.iter().any(|node| matches!(node.kind, Kind::Alias(target) if within.contains(&target)))
    }

    /// The value that yaml.v3 gives a scalar; [`Meaning::Text`] for other nodes.
    pub(super) fn meaning(&self, id: NodeId) -> Meaning {
        let Node { kind: Kind::Scalar(text), is_plain, tag, .. } = self.node(id) else {
            return Meaning::Text;
        };
        let is_number = text.starts_with(|first: char| first.is_ascii_digit() || "+-.".contains(first));
        match (tag.as_deref().unwrap_or_default(), implicit(text)) {
            ("" | "!", meaning) if *is_plain => meaning,
            ("!!binary", _) => Meaning::Binary,
            ("!!null", Meaning::Null) => Meaning::Null,
            ("!!bool", Meaning::Boolean(value)) => Meaning::Boolean(value),
            ("!!null" | "!!bool", _) => Meaning::Unfit,
            ("!!int" | "!!float" | "!!timestamp", _) if !is_number => Meaning::Unfit,
            _ => Meaning::Text,
        }
    }
}

/// The meaning of a plain scalar without a tag.
fn implicit(text: &str) -> Meaning {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Meaning::Null,
        "true" | "True" | "TRUE" => Meaning::Boolean(true),
        "false" | "False" | "FALSE" => Meaning::Boolean(false),
        "<<" => Meaning::Merge,
        _ => Meaning::Text,
    }
}
