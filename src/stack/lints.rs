//! Slips in a file: misspelt fields, files of other tools, typing errors.

use super::resolve::Resolver;
use super::schema::{FIELDS, Root, UNUSED, Unknown, nearest};
use super::yaml::{Meaning, NodeId};
use crate::console::log::whole_or_length;
use crate::diagnostic::Diagnostic;
use crate::text::{self, variable_name};

/// The first characters of fields that people add on purpose, as Docker Compose and GitLab have them.
const EXTENSIONS: [&str; 2] = ["x-", "."];

/// Fields that a function works without.
const METADATA: [&str; 2] = ["labels", "annotations"];

/// Files that people take for stack files, by the fields that all of a kind have.
const OTHER_FILES: [(&[&str], &str); 8] = [
    (&["apiVersion", "kind"], "a Kubernetes resource"),
    (&["services"], "a Docker Compose file"),
    (&["pipelines"], "the configuration of Bitbucket Pipelines"),
    (&["jobs"], "the configuration of another CI system"),
    (&["resolver"], "a file of Haskell's `stack`"),
    (&["snapshot"], "a file of Haskell's `stack`"),
    (&["environment"], "an environment file"),
    (&["language"], "the `template.yml` of a template"),
];

impl Resolver<'_> {
    /// Refuses fields that faas-cli would silently ignore and that look like others, if the function would lack something without
    /// them, and warns about all others.
    pub(super) fn check_fields(&mut self, unknown: &[Unknown]) {
        for Unknown { name, value, owner, known } in unknown {
            let message = format!("unknown field `{}` in {owner}", whole_or_length(&name.value));
            if let Some(odd) = text::odd_character(&name.value) {
                self.report(name.node, Diagnostic::error(message).with_hint(format!("it contains {odd}")));
            } else if let Some(field) = nearest(&name.value, known) {
                let is_harmless = UNUSED.contains(&field) || METADATA.contains(&field);
                let found = if is_harmless { Diagnostic::warning(message) } else { Diagnostic::error(message) };
                self.report(name.node, found.with_hint(format!("write `{field}`")));
            } else if EXTENSIONS.iter().all(|start| !name.value.starts_with(start)) && !self.document.has_alias(*value)
            {
                let is_of_functions = FIELDS.contains(&name.value.as_str());
                let hint = is_of_functions.then(|| "write it below a function, in `functions`".to_owned());
                self.report(name.node, Diagnostic { hint, ..Diagnostic::warning(format!("{message}: it is ignored")) });
            }
        }
    }

    /// The problem with a file that is no stack file at all; the rules for stack files would only hide it.
    pub(super) fn another_file(&self, root: &Root) -> Option<Diagnostic> {
        let name = &self.source_map.file.name;
        if self.document.meaning(self.document.root()) == Meaning::Null {
            let hint = "write `provider:` and `functions:`, or the path of another file in `STACK_FILE`";
            return Some(Diagnostic::error(format!("`{name}` is empty")).with_hint(hint));
        }
        if !root.functions.is_empty() || root.provider_name.is_some() {
            return None;
        }
        let has = |field: &&str| root.unknown.iter().any(|unknown| unknown.name.value == **field);
        let (_, what) = OTHER_FILES.iter().find(|(fields, _)| fields.iter().all(has))?;
        let hint = "write the stack file's path in `STACK_FILE`";
        Some(Diagnostic::error(format!("`{name}` is {what}, not a stack file")).with_hint(hint))
    }

    /// The slip that makes a text invalid.
    pub(super) fn slip(&self, text: &str) -> Option<String> {
        if let Some(odd) = text::odd_character(text) {
            return Some(format!("it contains {odd}"));
        }
        let reference = text::bare_reference(text).filter(|_| !self.options.is_literal)?;
        Some(format!("`{reference}` is substituted only with braces: write `${{{}}}`", &reference[1..]))
    }

    /// Warns about a text that is valid, but not what its author sees.
    pub(super) fn check_slip(&mut self, node: NodeId, text: &str) {
        if let Some(quotes) = text::typographic_quotes(text) {
            return self.report(node, Diagnostic::warning(format!("this contains {quotes}")));
        }
        let name = variable_name(text).filter(|_| !text.contains('{') && !self.options.is_literal);
        // `$$NAME` is how the text `$NAME` is written.
        let is_escaped = || self.source_map.file.source.contains(&format!("${}", text.trim()));
        if let Some(name) = name.filter(|name| !is_escaped() && (self.context.variables.value)(name).is_some()) {
            let message = format!("`${name}` is not substituted, although the variable is set");
            let hint = format!("write `${{{name}}}`, or `$${name}` for the text itself");
            self.report(node, Diagnostic::warning(message).with_hint(hint));
        }
    }
}
