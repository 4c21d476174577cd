//! The fields of a stack file, as faas-cli's structs have them.

use std::collections::BTreeMap;

use super::decode::{Decoder, Entry, Pair, Text};
use super::yaml::NodeId;
use crate::console::log::{shown_later, whole_or_length};

pub(super) const FIELDS: [&str; 18] = [
    "image",
    "lang",
    "handler",
    "fprocess",
    "namespace",
    "environment",
    "environment_file",
    "secrets",
    "constraints",
    "labels",
    "annotations",
    "limits",
    "requests",
    "readonly_root_filesystem",
    "skip_build",
    "build_args",
    "build_options",
    "platforms",
];

/// Fields that a deploy does not use.
pub(super) const UNUSED: [&str; 6] =
    ["skip_build", "build_args", "build_options", "platforms", "configuration", "network"];
pub(super) const AMOUNTS: [&str; 2] = ["memory", "cpu"];
const PROVIDER: [&str; 3] = ["name", "gateway", "network"];
const ROOT: [&str; 4] = ["version", "provider", "functions", "configuration"];

/// A field that faas-cli does not know, and ignores.
#[derive(Debug)]
pub(super) struct Unknown {
    pub(super) pair: Pair,
    /// The object that it is a field of, for messages.
    pub(super) owner: String,
    pub(super) known: &'static [&'static str],
}

impl Unknown {
    fn new(pair: Pair, owner: &str, known: &'static [&'static str]) -> Self {
        Self { pair, owner: owner.to_owned(), known }
    }
}

/// The stack file but for its functions' fields.
#[derive(Debug, Default)]
pub(super) struct Root {
    pub(super) version: Option<Text>,
    pub(super) provider_name: Option<Text>,
    pub(super) gateway: Option<Text>,
    /// The node of `gateway`, also if it holds no text.
    pub(super) gateway_node: Option<NodeId>,
    pub(super) functions: Vec<Pair>,
    pub(super) unknown: Vec<Unknown>,
}

#[derive(Debug, Default)]
pub(super) struct Fields {
    pub(super) image: Option<Text>,
    pub(super) language: Option<Text>,
    pub(super) handler: Option<Text>,
    pub(super) process: Option<Text>,
    pub(super) namespace: Option<Text>,
    pub(super) environment: BTreeMap<String, Entry>,
    pub(super) environment_files: Vec<Text>,
    pub(super) secrets: Vec<Text>,
    pub(super) constraints: Option<Vec<Text>>,
    pub(super) labels: BTreeMap<String, Entry>,
    pub(super) annotations: BTreeMap<String, Entry>,
    pub(super) limits: Amounts,
    pub(super) requests: Amounts,
    pub(super) read_only: bool,
    /// The fields that it has.
    pub(super) pairs: Vec<Pair>,
    pub(super) unknown: Vec<Unknown>,
}

#[derive(Debug, Default)]
pub(super) struct Amounts {
    pub(super) memory: Option<Text>,
    pub(super) cpu: Option<Text>,
}

pub(super) fn root(decoder: &mut Decoder<'_>, node: NodeId) -> Root {
    let mut root = Root::default();
    for pair in decoder.pairs(node, "the stack file").unwrap_or_default() {
        match pair.name.as_str() {
            "version" => root.version = text(decoder, &pair),
            "provider" => {
                for pair in decoder.pairs(pair.value, "`provider`").unwrap_or_default() {
                    match pair.name.as_str() {
                        "name" => root.provider_name = text(decoder, &pair),
                        "gateway" => {
                            root.gateway_node = Some(pair.value);
                            root.gateway = text(decoder, &pair);
                        }
                        "network" => decoder.unused.push(pair.value),
                        _ => root.unknown.push(Unknown::new(pair, "`provider`", &PROVIDER)),
                    }
                }
            }
            "functions" => root.functions = decoder.pairs(pair.value, "`functions`").unwrap_or_default(),
            "configuration" => decoder.unused.push(pair.value),
            _ => root.unknown.push(Unknown::new(pair, "the stack file", &ROOT)),
        }
    }
    root
}

pub(super) fn function(decoder: &mut Decoder<'_>, node: NodeId, name: &str) -> Fields {
    let mut fields = Fields::default();
    let owner = format!("function `{}`", whole_or_length(name));
    if FIELDS.contains(&name) && !decoder.is_mapping_or_null(node) {
        let message = format!("`{name}` is a field of a function, but stands where the name of one does");
        decoder.report(node, message, "indent it more than the name of its function");
        return fields;
    }
    for pair in decoder.pairs(node, &owner).unwrap_or_default() {
        let node = pair.value;
        let what = format!("`{}`", pair.name);
        fields.pairs.push(pair.clone());
        match pair.name.as_str() {
            "image" => fields.image = text(decoder, &pair),
            "lang" => fields.language = text(decoder, &pair),
            "handler" => fields.handler = text(decoder, &pair),
            "fprocess" => fields.process = text(decoder, &pair),
            "namespace" => fields.namespace = text(decoder, &pair),
            "environment" => fields.environment = decoder.map(node, &what).unwrap_or_default(),
            "environment_file" => fields.environment_files = decoder.list(node, &what).unwrap_or_default(),
            "secrets" => fields.secrets = decoder.list(node, &what).unwrap_or_default(),
            "constraints" => fields.constraints = decoder.list(node, &what),
            "labels" => fields.labels = decoder.map(node, &what).unwrap_or_default(),
            "annotations" => fields.annotations = decoder.map(node, &what).unwrap_or_default(),
            "limits" => fields.limits = amounts(decoder, node, &what, &mut fields.unknown),
            "requests" => fields.requests = amounts(decoder, node, &what, &mut fields.unknown),
            "readonly_root_filesystem" => fields.read_only = decoder.boolean(node, &what).unwrap_or_default(),
            name if UNUSED.contains(&name) => decoder.unused.push(node),
            _ => fields.unknown.push(Unknown::new(pair, &owner, &FIELDS)),
        }
    }
    fields
}

fn amounts(decoder: &mut Decoder<'_>, node: NodeId, what: &str, unknown: &mut Vec<Unknown>) -> Amounts {
    let mut amounts = Amounts::default();
    for pair in decoder.pairs(node, what).unwrap_or_default() {
        match pair.name.as_str() {
            "memory" => amounts.memory = text(decoder, &pair),
            "cpu" => amounts.cpu = text(decoder, &pair),
            _ => unknown.push(Unknown::new(pair, what, &AMOUNTS)),
        }
    }
    amounts
}

pub(super) fn text(decoder: &mut Decoder<'_>, pair: &Pair) -> Option<Text> {
    let value = decoder.text(pair.value, format_args!("`{}`", shown_later(&pair.name)))?;
    Some(Text { value, node: pair.value })
}

impl Root {
    /// True if a field of the stack file is a misspelt one of this name.
    pub(super) fn lists_near(&self, field: &str) -> bool {
        self.unknown.iter().any(|unknown| nearest(&unknown.pair.name, unknown.known) == Some(field))
    }
}

/// Fields by the names that the gateway's API and Docker Compose have for them.
const SYNONYMS: [(&str, &str); 4] = [
    ("envvars", "environment"),
    ("envfile", "environment_file"),
    ("envprocess", "fprocess"),
    ("readonly", "readonly_root_filesystem"),
];

/// The field that has this name elsewhere, or in another spelling.
pub(super) fn synonym(name: &str) -> Option<&'static str> {
    let plain = |name: &str| name.replace(['-', '_'], "").to_ascii_lowercase();
    let same = FIELDS.iter().copied().find(|field| plain(field) == plain(name));
    same.or_else(|| SYNONYMS.iter().find(|(other, _)| *other == plain(name)).map(|(_, field)| *field))
}

/// The field that a name is a typing error of, or the start of.
pub(super) fn nearest(name: &str, known: &'static [&'static str]) -> Option<&'static str> {
    // `name` is a word of its own, and no start of `namespace`.
    let is_start = |field: &str| name.len() > 2 && field.starts_with(name) && !"names".starts_with(name);
    // Short words are near to many others: `gpu` to `cpu`, `tag` to `lang`.
    let most = |field: &str| match field.len().max(name.len()) {
        0..=3 => 0,
        4..=5 => 1,
        _ => 2,
    };
    // Names may be long: the distance is computed only for those that can be near.
    let near = known.iter().filter(|field| is_start(field) || field.len().abs_diff(name.len()) <= most(field));
    let distances = near.map(|field| (strsim::osa_distance(field, name), *field));
    let nearest = distances.filter(|(distance, field)| *distance <= most(field) || is_start(field)).min();
    nearest.map(|(_, field)| field)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn field_is_near_only_to_the_one_that_was_meant() {
        for (name, field) in [
            ("enviroment", "environment"),
            ("env", "environment"),
            ("secert", "secrets"),
            ("lable", "labels"),
            ("imgae", "image"),
            ("readonly", "readonly_root_filesystem"),
        ] {
            assert_eq!(nearest(name, &FIELDS), Some(field), "{name}");
        }
        assert_eq!((nearest("mem", &AMOUNTS), nearest("cpus", &AMOUNTS)), (Some("memory"), Some("cpu")));
        for name in ["name", "tag", "log", "plan", "link", "flag", "stage", "usage", "port", "ports", "timeout"] {
            assert_eq!(nearest(name, &FIELDS), None, "{name}");
        }
        assert_eq!((nearest("gpu", &AMOUNTS), nearest("node", &PROVIDER)), (None, None));
    }
}
