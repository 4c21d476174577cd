//! What is checked of a function beside what is put together of it.

use super::super::decode::{Pair, Text};
use super::super::envsubst::OWN_SECRET;
use super::super::kubernetes;
use super::super::schema::{Fields, Unknown};
use super::super::yaml::NodeId;
use super::{Assembly, At, MAX_PROBLEMS};
use crate::console::log::brief;

/// A field this near to a known one is a slip of the pen; so is the start of one.
const SLIP: usize = 2;

impl Assembly<'_> {
    /// Refuses a name that no URL can hold.
    pub(super) fn check_name(&mut self, name: &str, node: NodeId) {
        if let Some(fault) = kubernetes::unaddressable(name) {
            let message = format!("no URL can name the function `{}`: {fault}", brief(name));
            let hint = "use lower case letters, digits and `-`".to_owned();
            self.problem(node, &message, Some(hint));
        } else if let Some(fault) = kubernetes::function_name(name) {
            let message = format!("Kubernetes takes no function named `{}`: {fault}", brief(name));
            self.warn(At::Node(node), message, None);
        }
    }

    /// Warns about fields that faas-cli would silently pass over and that look like others.
    pub(super) fn check_fields(&mut self, unknown: &[Unknown]) {
        for Unknown { name: Text { value, node }, owner, known } in unknown {
            if self.warnings.len() >= MAX_PROBLEMS {
                break;
            }
            let is_start = |field: &str| value.len() > SLIP && field.starts_with(value);
            // Names may be long: only of those that can be near is the distance worked out.
            let distances = known
                .iter()
                .filter(|field| is_start(field) || field.len().abs_diff(value.len()) <= SLIP)
                .map(|field| (strsim::osa_distance(field, value), field));
            let near = distances.filter(|(distance, field)| *distance <= SLIP || is_start(field)).min();
            if let Some((_, field)) = near {
                let message = format!("{owner} has the unknown field `{}`", brief(value));
                self.warn(At::Node(*node), message, Some(format!("write `{field}`")));
            }
        }
    }

    /// Refuses what holds one of the step's tokens, whatever name it came in under.
    pub(super) fn check_tokens(&mut self, pair: &Pair, fields: &Fields) {
        let Fields { image, namespace, process, limits, requests, secrets, constraints, .. } = fields;
        let single = [image, namespace, process, &limits.memory, &limits.cpu, &requests.memory, &requests.cpu];
        let texts = single.into_iter().flatten().chain(secrets).chain(constraints.iter().flatten());
        let maps = [&fields.environment, &fields.labels, &fields.annotations];
        let entries = maps.into_iter().flatten();
        let entries = entries.flat_map(|(name, entry)| [(entry.key, name), (entry.node, &entry.value)]);
        let all = texts.map(|text| (text.node, &text.value)).chain(entries).chain([(pair.key, &pair.name)]);
        for (node, text) in all {
            self.check_token(node, "this", text);
        }
    }

    /// The same for one text.
    pub(super) fn check_token(&mut self, node: NodeId, what: &str, text: &str) {
        if let Some(fault) = (self.surroundings.token_fault)(text) {
            let message = format!("{what} {fault}");
            if self.told.insert((node, message.clone())) {
                self.problem(node, &message, Some(OWN_SECRET.to_owned()));
            }
        }
    }

    /// Warns about what Kubernetes would not take of the pipe's variables.
    pub(super) fn check_options(&mut self) {
        let options = self.options;
        if let Some(namespace) = &options.namespace {
            self.check_namespace(At::Variable("OPENFAAS_NAMESPACE"), namespace);
        }
        for (name, _) in &options.env_vars {
            self.check_environment(At::Variable("ENV_VARS"), name);
        }
        for (name, value) in &options.labels {
            self.check_label([At::Variable("LABELS"); 2], name, value);
        }
        for (name, _) in &options.annotations {
            self.check_annotation(At::Variable("ANNOTATIONS"), name);
        }
        for secret in &options.secrets {
            self.check_secret(At::Variable("SECRETS"), secret);
        }
    }

    fn check_namespace(&mut self, at: At, name: &str) {
        if let Some(fault) = kubernetes::dns_label(name) {
            self.warn(at, format!("Kubernetes has no namespace `{}`: {fault}", brief(name)), None);
        }
    }

    fn check_environment(&mut self, at: At, name: &str) {
        if let Some(fault) = kubernetes::environment_name(name) {
            let message = format!("Kubernetes takes no environment variable named `{}`: {fault}", brief(name));
            self.warn(at, message, None);
        }
    }

    fn check_label(&mut self, [key_at, value_at]: [At; 2], name: &str, value: &str) {
        if let Some(fault) = kubernetes::label_key(name) {
            self.warn(key_at, format!("Kubernetes takes no label named `{}`: {fault}", brief(name)), None);
        }
        if let Some(fault) = kubernetes::label_value(value) {
            let message = format!("Kubernetes does not take this value of the label `{}`: {fault}", brief(name));
            self.warn(value_at, message, Some("annotations take any value".to_owned()));
        }
    }

    fn check_annotation(&mut self, at: At, name: &str) {
        if let Some(fault) = kubernetes::label_key(&name.to_lowercase()) {
            self.warn(at, format!("Kubernetes takes no annotation named `{}`: {fault}", brief(name)), None);
        }
    }

    fn check_secret(&mut self, at: At, name: &str) {
        if let Some(fault) = kubernetes::dns_subdomain(name) {
            self.warn(at, format!("Kubernetes has no secret `{}`: {fault}", brief(name)), None);
        }
    }

    /// The same of a function in the stack file.
    pub(super) fn check_kubernetes(&mut self, fields: &Fields) {
        if let (None, Some(text)) = (&self.options.namespace, &fields.namespace)
            && !text.value.is_empty()
        {
            self.check_namespace(At::Node(text.node), &text.value);
        }
        for (name, entry) in &fields.environment {
            self.check_environment(At::Node(entry.key), name);
        }
        for (name, entry) in &fields.labels {
            self.check_label([At::Node(entry.key), At::Node(entry.node)], name, &entry.value);
        }
        for (name, entry) in &fields.annotations {
            self.check_annotation(At::Node(entry.key), name);
        }
        let size = fields.annotations.iter().map(|(name, entry)| name.len() + entry.value.len()).sum();
        if let (Some(fault), Some(entry)) = (kubernetes::annotations_size(size), fields.annotations.values().next()) {
            self.warn(At::Node(entry.key), fault, None);
        }
        for secret in &fields.secrets {
            self.check_secret(At::Node(secret.node), &secret.value);
        }
        for amounts in [&fields.limits, &fields.requests] {
            let memory = amounts
                .memory
                .as_ref()
                .map(|text| (text, kubernetes::memory as fn(&str) -> Option<kubernetes::QuantityFault>));
            let cpu = amounts
                .cpu
                .as_ref()
                .map(|text| (text, kubernetes::cpu as fn(&str) -> Option<kubernetes::QuantityFault>));
            for (text, check) in [memory, cpu].into_iter().flatten().filter(|(text, _)| !text.value.is_empty()) {
                if let Some(fault) = check(&text.value) {
                    self.warn(
                        At::Node(text.node),
                        format!("`{}` {}", brief(&text.value), fault.message),
                        Some(fault.hint),
                    );
                }
            }
        }
    }
}
