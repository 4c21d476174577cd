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

/// The index of a node in its document.
pub type NodeId = usize;

/// Why a text is not YAML.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyntaxError {
    /// In bytes of the text.
    pub at: usize,
    pub message: String,
    pub hint: Option<&'static str>,
}

/// One YAML document.
#[derive(Debug)]
pub struct Document {
    /// In the order of the text; the first is the root.
    nodes: Vec<Node>,
    /// Where a further document begins that holds something, in bytes of the text.
    rest: Option<usize>,
}

#[derive(Debug)]
struct Node {
    content: Content,
    tag: Option<String>,
    /// Where it is written, in bytes of the text; of a collection only the place where it begins.
    written: Range<usize>,
    /// The node after this one and all within it.
    end: NodeId,
}

#[derive(Debug)]
enum Content {
    Plain(String),
    Quoted(String),
    Sequence,
    Mapping,
    Alias(NodeId),
}

/// What a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind<'a> {
    /// With its source text.
    Scalar(&'a str),
    Sequence,
    Mapping,
    /// Stands for another node.
    Alias(NodeId),
}

/// What yaml.v3 makes of a scalar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// `null`, `~` or no text.
    Null,
    Boolean(bool),
    /// A number or a date: a text if one is wanted, else not.
    Other,
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

    pub fn root(&self) -> NodeId {
        0
    }

    /// Where what follows the document begins, in bytes of the text; it is not looked at further.
    pub fn rest(&self) -> Option<usize> {
        self.rest
    }

    fn node(&self, id: NodeId) -> &Node {
        // Ids are only made by this document; the root is always there.
        self.nodes.get(id).unwrap_or(&self.nodes[0])
    }

    pub fn kind(&self, id: NodeId) -> Kind<'_> {
        match &self.node(id).content {
            Content::Plain(text) | Content::Quoted(text) => Kind::Scalar(text),
            Content::Sequence => Kind::Sequence,
            Content::Mapping => Kind::Mapping,
            Content::Alias(target) => Kind::Alias(*target),
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
        std::iter::successors(Some(id + 1), |child| Some(self.node(*child).end)).take_while(move |child| *child < end)
    }

    /// Keys and values of a mapping.
    pub fn pairs(&self, id: NodeId) -> impl Iterator<Item = (NodeId, NodeId)> + '_ {
        let mut children = self.children(id);
        std::iter::from_fn(move || Some((children.next()?, children.next()?)))
    }

    /// Where a scalar or an alias is written, in bytes of the text, with its quotes; of a collection only where it begins.
    pub fn written(&self, id: NodeId) -> Range<usize> {
        self.node(id).written.clone()
    }

    /// What yaml.v3 makes of a scalar; [`Meaning::Text`] for other nodes.
    pub fn meaning(&self, id: NodeId) -> Meaning {
        let Node { content, tag, .. } = self.node(id);
        let Kind::Scalar(text) = self.kind(id) else {
            return Meaning::Text;
        };
        match tag.as_deref().unwrap_or_default() {
            "" | "!" if matches!(content, Content::Quoted(_)) => Meaning::Text,
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
