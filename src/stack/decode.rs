//! Nodes to values, as Go's yaml.v3 decodes them into faas-cli's structs: merge keys, aliases, nulls, all problems at once.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::yaml::{Document, Kind, Meaning, NodeId};
use crate::console::log::{Brief, brief};

/// How deep merge keys may lead to merge keys.
const MAX_MERGES: usize = 32;
/// How many bytes all decoded values may take together: what aliases may make of a text.
const MAX_BYTES: usize = 4 << 20;
/// How many nodes may be decoded, each as often as aliases repeat it.
const MAX_NODES: usize = 1 << 19;
/// How many names a mapping may have.
const MAX_NAMES: usize = 1 << 16;
/// After so many problems the rest is counted only.
const MAX_PROBLEMS: usize = 100;

/// What is wrong with a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The node to mark.
    pub node: NodeId,
    /// What is wrong.
    pub message: String,
    /// What to write.
    pub hint: Option<String>,
    /// The node that it repeats.
    pub first: Option<NodeId>,
}

/// A text and where it stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Text {
    /// The text.
    pub value: String,
    /// Its node.
    pub node: NodeId,
}

/// A value of a mapping, with the places of key and value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The value.
    pub value: String,
    /// The key's node.
    pub key: NodeId,
    /// The value's node.
    pub node: NodeId,
}

/// A key and a value of a mapping, merges applied.
#[derive(Clone, Debug)]
pub struct Pair {
    /// The key's text.
    pub name: String,
    /// The key's node.
    pub key: NodeId,
    /// The value's node.
    pub value: NodeId,
    is_merged: bool,
}

/// Decodes nodes of one document.
pub struct Decoder<'d> {
    document: &'d Document,
    /// All that was found so far.
    pub findings: Vec<Finding>,
    bytes: usize,
    nodes: usize,
    /// Whether too much was decoded already; nothing more is.
    pub is_exhausted: bool,
}

impl<'d> Decoder<'d> {
    /// A decoder of `document`.
    pub fn new(document: &'d Document) -> Self {
        Self { document, findings: Vec::new(), bytes: 0, nodes: 0, is_exhausted: false }
    }

    /// Notes a problem.
    pub fn report(&mut self, node: NodeId, message: impl Into<String>, hint: Option<&str>) {
        if self.findings.len() < MAX_PROBLEMS {
            let hint = hint.map(str::to_owned);
            self.findings.push(Finding { node, message: message.into(), hint, first: None });
        }
    }

    /// Whether more may be decoded; says once that it may not.
    fn charge(&mut self, node: NodeId, bytes: usize) -> bool {
        self.bytes += bytes;
        self.nodes += 1;
        if !self.is_exhausted && (self.bytes > MAX_BYTES || self.nodes > MAX_NODES) {
            self.is_exhausted = true;
            self.report(
                node,
                "the values up to here are too large together",
                Some("use fewer aliases, or several files"),
            );
        }
        !self.is_exhausted
    }

    /// Whether a node says nothing.
    pub fn is_null(&self, node: NodeId) -> bool {
        self.document.meaning(self.document.resolve(node)) == Meaning::Null
    }

    /// A text; `None` where it is null, or wrong, which is noted. `what` names it in messages.
    pub fn text(&mut self, node: NodeId, what: fmt::Arguments<'_>) -> Option<String> {
        let target = self.document.resolve(node);
        let Kind::Scalar(text) = self.document.kind(target) else {
            let hint = match self.document.kind(target) {
                Kind::Mapping => "quote the value where it begins with `{` or holds `: `",
                _ => "quote the value where it begins with `[` or `- `",
            };
            self.report(node, format!("{what} is {}, where a text belongs", self.describe(target)), Some(hint));
            return None;
        };
        if !self.charge(node, text.len()) {
            return None;
        }
        match self.document.meaning(target) {
            Meaning::Null => None,
            Meaning::Binary => {
                let decoded = STANDARD.decode(text.replace(['\n', '\r'], "")).ok();
                let decoded = decoded.and_then(|bytes| String::from_utf8(bytes).ok());
                if decoded.is_none() {
                    self.report(node, format!("{what} is `!!binary` and not base64 of a text"), None);
                }
                decoded
            }
            Meaning::Unfit => {
                self.report(node, format!("{what} is not what its tag says"), Some("remove the tag, or write `!!str`"));
                None
            }
            _ => Some(text.to_owned()),
        }
    }

    /// A boolean; `None` where it is null, or wrong, which is noted.
    pub fn boolean(&mut self, node: NodeId, what: &str) -> Option<bool> {
        let target = self.document.resolve(node);
        let text = match self.document.kind(target) {
            Kind::Scalar(text) => text,
            _ => "",
        };
        // In yaml.v3 these words are booleans where one is wanted, quoted too, while a quoted `true` is not.
        let is_word = |words: &[&str]| words.contains(&text);
        match self.document.meaning(target) {
            Meaning::Boolean(value) => return Some(value),
            Meaning::Null => return None,
            Meaning::Text if is_word(&["y", "Y", "yes", "Yes", "YES", "on", "On", "ON"]) => return Some(true),
            Meaning::Text if is_word(&["n", "N", "no", "No", "NO", "off", "Off", "OFF"]) => return Some(false),
            _ => {}
        }
        let found = self.describe(target);
        let hint = if matches!(text, "true" | "false") {
            format!("write `{text}` without quotes")
        } else {
            "write `true` or `false`".to_owned()
        };
        self.report(node, format!("{what} is {found}, where `true` or `false` belongs"), Some(&hint));
        None
    }

    /// A list of texts without its nulls; `None` where it is null, or wrong, which is noted.
    pub fn list(&mut self, node: NodeId, what: &str) -> Option<Vec<Text>> {
        let target = self.document.resolve(node);
        match self.document.kind(target) {
            Kind::Sequence => {
                let document = self.document;
                let items = document.children(target);
                let text = |node| Some(Text { value: self.text(node, format_args!("an item of {what}"))?, node });
                Some(items.filter_map(text).collect())
            }
            _ if self.is_null(target) => None,
            kind => {
                let hint = match kind {
                    Kind::Scalar(text) => {
                        format!("write `[{}]`, or each item on a line of its own after `- `", brief(text))
                    }
                    _ => "write each item on a line of its own after `- `".to_owned(),
                };
                self.report(node, format!("{what} is {}, where a list belongs", self.describe(target)), Some(&hint));
                None
            }
        }
    }

    /// Names with texts, a null being the empty text; `None` where it is null, or wrong, which is noted.
    pub fn map(&mut self, node: NodeId, what: &str) -> Option<BTreeMap<String, Entry>> {
        let mut map = BTreeMap::new();
        for pair in self.pairs(node, what)? {
            let before = self.findings.len();
            let value = self.text(pair.value, format_args!("`{}` of {what}", Brief(&pair.name)));
            if value.is_none() && self.findings.len() > before {
                continue;
            }
            let entry = Entry { value: value.unwrap_or_default(), key: pair.key, node: pair.value };
            map.insert(pair.name, entry);
        }
        Some(map)
    }

    /// Keys and values of a mapping, own ones before merged ones; `None` where it is null, or wrong, which is noted.
    pub fn pairs(&mut self, node: NodeId, what: &str) -> Option<Vec<Pair>> {
        let target = self.document.resolve(node);
        match self.document.kind(target) {
            Kind::Mapping => {
                let mut flatten = Flatten { decoder: self, what, pairs: Vec::new(), merging: vec![node] };
                flatten.mapping(target, None)?;
                let pairs = flatten.pairs;
                Some(self.once_each(pairs))
            }
            _ if self.is_null(target) => None,
            kind => {
                let hint = match kind {
                    Kind::Sequence => "write `NAME: value` lines, without `- ` and `=`",
                    _ => "write `NAME: value` lines; a space follows the colon",
                };
                self.report(
                    node,
                    format!("{what} is {}, where names with values belong", self.describe(target)),
                    Some(hint),
                );
                None
            }
        }
    }

    /// The pairs with each name once. Own names may be the same through an alias or a tag, which is wrong; a merged one
    /// that did not lose against an own one takes its place, unless it is null.
    fn once_each(&mut self, pairs: Vec<Pair>) -> Vec<Pair> {
        let mut seen: HashMap<String, usize> = HashMap::with_capacity(pairs.len());
        let mut out: Vec<Pair> = Vec::with_capacity(pairs.len());
        for pair in pairs {
            match seen.get(&pair.name).and_then(|index| out.get_mut(*index)) {
                None => {
                    seen.insert(pair.name.clone(), out.len());
                    out.push(pair);
                }
                Some(first) if pair.is_merged => {
                    let is_null = self.document.meaning(self.document.resolve(pair.value)) == Meaning::Null;
                    if !is_null {
                        *first = pair;
                    }
                }
                Some(first) => {
                    let first = first.key;
                    self.report_repeated(pair.key, first, &pair.name);
                }
            }
        }
        out
    }

    fn report_repeated(&mut self, node: NodeId, first: NodeId, name: &str) {
        let before = self.findings.len();
        if before >= MAX_PROBLEMS || self.findings.iter().any(|finding| finding.node == node) {
            return;
        }
        let message = format!("`{}` stands here for the second time", brief(name));
        self.report(node, message, Some("keep one of them"));
        if let Some(finding) = self.findings.get_mut(before) {
            finding.first = Some(first);
        }
    }

    fn describe(&self, node: NodeId) -> String {
        match (self.document.kind(node), self.document.meaning(node)) {
            (Kind::Sequence, _) => "a list".to_owned(),
            (Kind::Mapping, _) => "a mapping".to_owned(),
            (_, Meaning::Null) => "empty".to_owned(),
            (Kind::Scalar(text), _) => format!("the text `{}`", brief(text)),
            (Kind::Alias(_), _) => "an alias".to_owned(),
        }
    }
}

/// Gathers the pairs of a mapping and of those it merges.
struct Flatten<'a, 'd> {
    decoder: &'a mut Decoder<'d>,
    what: &'a str,
    pairs: Vec<Pair>,
    /// The aliases and mappings on the way here.
    merging: Vec<NodeId>,
}

impl Flatten<'_, '_> {
    /// `taken` holds the keys that win over merged ones; the outermost mapping has none yet.
    fn mapping(&mut self, node: NodeId, taken: Option<&mut HashSet<String>>) -> Option<()> {
        let document = self.decoder.document;
        self.check_unique(node)?;
        let mut taken = taken;
        let is_merged = taken.is_some();
        let mut merge = None;
        for (key, value) in document.pairs(node) {
            if document.meaning(key) == Meaning::Merge {
                merge = Some(value);
                continue;
            }
            let Some(name) = self.decoder.text(key, format_args!("a name in {}", self.what)) else {
                continue;
            };
            if let Some(taken) = &mut taken
                && !taken.insert(name.clone())
            {
                continue;
            }
            self.pairs.push(Pair { name, key, value, is_merged });
        }
        let Some(merge) = merge else {
            return Some(());
        };
        match taken {
            Some(taken) => self.merge(merge, taken),
            None => {
                // yaml.v3 compares own keys by type: one that looks like a number does not win over a merged text.
                let own = self.pairs.iter().filter(|pair| {
                    let key = document.resolve(pair.key);
                    matches!(document.meaning(key), Meaning::Text | Meaning::Binary | Meaning::Merge)
                });
                let mut taken = own.map(|pair| pair.name.clone()).collect();
                self.merge(merge, &mut taken)
            }
        }
    }

    fn merge(&mut self, node: NodeId, taken: &mut HashSet<String>) -> Option<()> {
        let document = self.decoder.document;
        match document.kind(node) {
            Kind::Sequence => {
                for item in document.children(node) {
                    self.merge_one(item, taken)?;
                }
                Some(())
            }
            _ => self.merge_one(node, taken),
        }
    }

    fn merge_one(&mut self, node: NodeId, taken: &mut HashSet<String>) -> Option<()> {
        let document = self.decoder.document;
        let target = document.resolve(node);
        if document.kind(target) != Kind::Mapping {
            let message = "`<<` merges mappings only";
            self.decoder.report(
                node,
                message,
                Some("write `<<: *name` with the anchor of a mapping, or a list of such"),
            );
            return None;
        }
        if self.merging.contains(&node) || self.merging.len() > MAX_MERGES {
            self.decoder.report(node, "this merges itself, or too many within each other", None);
            return None;
        }
        if !self.decoder.charge(node, 0) {
            return None;
        }
        self.merging.push(node);
        let result = self.mapping(target, Some(taken));
        self.merging.pop();
        result
    }

    /// Two keys with the same text, whatever their types, as yaml.v3 compares them.
    fn check_unique(&mut self, node: NodeId) -> Option<()> {
        let document = self.decoder.document;
        let mut seen: HashMap<Kind<'_>, NodeId> = HashMap::new();
        for (key, _) in document.pairs(node) {
            if !self.decoder.charge(key, 0) {
                return None;
            }
            let kind = document.kind(key);
            if seen.len() >= MAX_NAMES {
                self.decoder.report(key, format!("more than {MAX_NAMES} names in {}", self.what), None);
                return None;
            }
            if let Some(first) = seen.insert(kind, key) {
                let name = match kind {
                    Kind::Scalar(text) => text,
                    _ => "this",
                };
                self.decoder.report_repeated(key, first, name);
            }
        }
        Some(())
    }
}
