//! What is checked of a function beside what is put together of it.

use super::super::check;
use super::super::decode::{Pair, Text};
use super::super::envsubst::OWN_SECRET;
use super::super::schema::{Fields, Unknown};
use super::super::yaml::NodeId;
use super::{Assembly, MAX_PROBLEMS};
use crate::log::brief;

/// A field this near to a known one is a slip of the pen; so is the start of one.
const SLIP: usize = 2;

impl Assembly<'_> {
    /// Refuses a name that no URL can hold.
    pub(super) fn check_name(&mut self, name: &str, node: NodeId) {
        if let Some(fault) = check::unaddressable(name) {
            let message = format!("no URL can name the function `{}`: {fault}", brief(name));
            let hint = "use lower case letters, digits and `-`".to_owned();
            self.problem(node, &message, Some(hint));
        } else if let Some(fault) = check::function_name(name) {
            let message = format!("Kubernetes takes no function named `{}`: {fault}", brief(name));
            self.warn(node, message, None);
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
                self.warn(*node, message, Some(format!("write `{field}`")));
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

    /// Warns about what Kubernetes would not take.
    pub(super) fn check_kubernetes(&mut self, fields: &Fields) {
        if let (None, Some(text)) = (&self.options.namespace, &fields.namespace)
            && !text.value.is_empty()
            && let Some(fault) = check::dns_label(&text.value)
        {
            let message = format!("Kubernetes has no namespace `{}`: {fault}", brief(&text.value));
            self.warn(text.node, message, None);
        }
        for (name, entry) in &fields.labels {
            if let Some(fault) = check::label_key(name) {
                self.warn(entry.key, format!("Kubernetes takes no label named `{}`: {fault}", brief(name)), None);
            }
            if let Some(fault) = check::label_value(&entry.value) {
                let message = format!("Kubernetes does not take this value of the label `{}`: {fault}", brief(name));
                self.warn(entry.node, message, Some("annotations take any value".to_owned()));
            }
        }
        let mut size = 0;
        for (name, entry) in &fields.annotations {
            size += name.len() + entry.value.len();
            if let Some(fault) = check::label_key(&name.to_lowercase()) {
                self.warn(entry.key, format!("Kubernetes takes no annotation named `{}`: {fault}", brief(name)), None);
            }
        }
        if let (Some(fault), Some(entry)) = (check::annotations_size(size), fields.annotations.values().next()) {
            self.warn(entry.key, fault, None);
        }
        for secret in &fields.secrets {
            if let Some(fault) = check::dns_subdomain(&secret.value) {
                self.warn(secret.node, format!("Kubernetes has no secret `{}`: {fault}", brief(&secret.value)), None);
            }
        }
        for amounts in [&fields.limits, &fields.requests] {
            let memory =
                amounts.memory.as_ref().map(|text| (text, check::memory as fn(&str) -> Option<check::QuantityFault>));
            let cpu = amounts.cpu.as_ref().map(|text| (text, check::cpu as fn(&str) -> Option<check::QuantityFault>));
            for (text, check) in [memory, cpu].into_iter().flatten().filter(|(text, _)| !text.value.is_empty()) {
                if let Some(fault) = check(&text.value) {
                    self.warn(text.node, format!("`{}` {}", brief(&text.value), fault.message), Some(fault.hint));
                }
            }
        }
    }
}
