//! YAML text to a tree of nodes that keep their source text, and what a scalar means to Go's yaml.v3.
//!
//! The parser is saphyr's; the tree is flat, so that neither deep nesting nor aliases cost more than the text they take.
//! What yaml.v3 reads and YAML 1.2 refuses is made readable; what the two read differently is refused.

mod read;
mod repair;
mod scalar;
#[cfg(test)]
mod tests;

use std::ops::Range;

/// How deep collections may be nested. yaml.v3 takes 10,000; a stack file needs five.
const MAX_DEPTH: usize = 128;
/// How many different tags a document may use.
const MAX_TAGS: usize = 1000;

/// The index of a node in its document.
pub type NodeId = u32;

/// A text that is not YAML.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyntaxError {
    /// In bytes of the text.
    pub at: usize,
    /// What is wrong.
    pub message: String,
    /// What to write.
    pub hint: Option<&'static str>,
}

/// One YAML document.
#[derive(Debug)]
pub struct Document {
    /// In the order they stand in the text; the first is the root.
    nodes: Vec<Node>,
    /// The texts of all scalars.
    values: String,
    tags: Vec<String>,
    /// Where a further document begins that holds something, in bytes of the text.
    rest: Option<usize>,
}

#[derive(Debug)]
struct Node {
    kind: RawKind,
    /// Index into the tags, from 1; 0 for none.
    tag: u16,
    /// The place, in bytes of the text.
    at: u32,
    /// Where its own text ends: for a collection, its opening bracket or first item.
    until: u32,
    /// A scalar's text is `values[first..last]`; an alias stands for node `first`.
    first: u32,
    last: u32,
    /// The node after this one and all within it.
    end: NodeId,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RawKind {
    Plain,
    Quoted,
    Sequence,
    Mapping,
    Alias,
}

/// What a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind<'a> {
    /// A single value, with its source text.
    Scalar(&'a str),
    /// A list.
    Sequence,
    /// Keys and values.
    Mapping,
    /// Stands for another node.
    Alias(NodeId),
}

/// What yaml.v3 makes of a scalar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// Nothing: `null`, `~` or no text.
    Null,
    /// `true` or `false`, in three spellings each.
    Boolean(bool),
    /// A number or a date: a text where one is wanted, else not.
    Other,
    /// A text.
    Text,
    /// `<<` as a key.
    Merge,
    /// Base64.
    Binary,
    /// An explicit tag that the text does not fit.
    Unfit,
}

impl Document {
    /// Reads the first document of a text, as faas-cli does.
    ///
    /// # Errors
    ///
    /// The first thing that is not YAML.
    pub fn parse(text: &str) -> Result<Self, SyntaxError> {
        read::document(text)
    }

    /// The root node.
    pub fn root(&self) -> NodeId {
        0
    }

    /// Where what follows the document begins, in bytes of the text; it is not looked at further.
    pub fn rest(&self) -> Option<usize> {
        self.rest
    }

    fn node(&self, id: NodeId) -> &Node {
        // Ids are only made by this document; 0 is always there.
        self.nodes.get(id as usize).unwrap_or(&self.nodes[0])
    }

    /// What a node is.
    pub fn kind(&self, id: NodeId) -> Kind<'_> {
        let node = self.node(id);
        match node.kind {
            RawKind::Plain | RawKind::Quoted => Kind::Scalar(&self.values[node.first as usize..node.last as usize]),
            RawKind::Sequence => Kind::Sequence,
            RawKind::Mapping => Kind::Mapping,
            RawKind::Alias => Kind::Alias(node.first),
        }
    }

    /// The node itself, or what it is an alias of.
    pub fn resolve(&self, id: NodeId) -> NodeId {
        match self.kind(id) {
            Kind::Alias(target) => target,
            _ => id,
        }
    }

    /// The nodes directly within a collection: items, or keys and values in turn.
    pub fn children(&self, id: NodeId) -> impl Iterator<Item = NodeId> + '_ {
        let end = self.node(id).end;
        let mut next = id + 1;
        std::iter::from_fn(move || {
            (next < end).then(|| {
                let child = next;
                next = self.node(child).end;
                child
            })
        })
    }

    /// Keys and values of a mapping.
    pub fn pairs(&self, id: NodeId) -> impl Iterator<Item = (NodeId, NodeId)> + '_ {
        let mut children = self.children(id);
        std::iter::from_fn(move || Some((children.next()?, children.next()?)))
    }

    /// The place of a node, in bytes of the text.
    pub fn offset(&self, id: NodeId) -> usize {
        self.node(id).at as usize
    }

    /// Where a scalar or an alias is written, in bytes of the text, with its quotes.
    pub fn written(&self, id: NodeId) -> Range<usize> {
        let node = self.node(id);
        node.at as usize..node.until as usize
    }

    /// What yaml.v3 makes of a scalar; [`Meaning::Text`] for other nodes.
    pub fn meaning(&self, id: NodeId) -> Meaning {
        let node = self.node(id);
        let Kind::Scalar(text) = self.kind(id) else {
            return Meaning::Text;
        };
        let tag = node.tag.checked_sub(1).and_then(|index| self.tags.get(usize::from(index)));
        match tag.map_or("", String::as_str) {
            "" | "!" if node.kind == RawKind::Quoted => Meaning::Text,
            "" | "!" if text == "<<" => Meaning::Merge,
            "" | "!" => scalar::implicit(text).0,
            "!!binary" => Meaning::Binary,
            "!!merge" if text == "<<" => Meaning::Merge,
            tag @ ("!!null" | "!!bool" | "!!int" | "!!float" | "!!timestamp") => {
                let (meaning, implied) = scalar::implicit(text);
                let fits = tag == implied || (tag == "!!float" && implied == "!!int");
                if fits { meaning } else { Meaning::Unfit }
            }
            _ => Meaning::Text,
        }
    }
}
