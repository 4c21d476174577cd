//! Tests of whole stack files.

mod deploy;
mod errors;
mod hostile;
mod selector;
mod shown;
mod values;

use std::path::Path;

use serde_json::{Value, json};

use super::*;
use crate::diagnostic::Severity;

/// The start of a stack file, up to the fields of function `f`.
const HEAD: &str = "version: 1.0\nprovider:\n  name: openfaas\nfunctions:\n  f:\n    image: r/i:1\n";

/// What no function may get.
const TOKEN: &str = "the.step.token";

struct Case<'a> {
    options: Options,
    variables: &'a [(&'a str, &'a str)],
    base: &'a Path,
    is_remote: bool,
    clone_dir: Option<&'a Path>,
}

impl Default for Case<'_> {
    fn default() -> Self {
        Self {
            options: Options::default(),
            variables: &[],
            base: Path::new("/nonexistent"),
            is_remote: false,
            clone_dir: None,
        }
    }
}

impl Case<'_> {
    fn read(&self, text: impl AsRef<[u8]>) -> Result<Stack, Vec<Diagnostic>> {
        let source = Source {
            name: self.clone_dir.map_or("stack.yml".into(), |clone| clone.join("stack.yml").display().to_string()),
            text: text.as_ref().to_vec(),
            base: self.base.to_owned(),
            url: self.is_remote.then(|| Url::parse("https://host/stack.yml").expect("url")),
            clone_dir: self.clone_dir.map(Path::to_owned),
        };
        let variable = |name: &str| {
            let found = self.variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        let variables = Lookup { value: &variable, is_secret: &|_| false };
        let folder_digest = |path: &Path| match path.file_name() {
            Some(name) if name == "missing" => Err(format!("no such folder at {}", path.display()).into()),
            name => Ok(format!("hash-of-{}", name.unwrap_or_default().to_string_lossy())),
        };
        let token_fault = |text: &str| text.contains(TOKEN).then(|| "holds a token".to_owned());
        let context = Context { variables, folder_digest: &folder_digest, token_fault: &token_fault };
        read(&source, &self.options, &context)
    }

    /// The bodies that would be sent.
    fn bodies(&self, text: impl AsRef<[u8]>) -> Vec<Value> {
        let stack = self.read(text).unwrap_or_else(|found| panic!("{}", lines(&found)));
        let body = |function: &Function| serde_json::to_value(&function.deployment).expect("JSON");
        stack.functions.iter().map(body).collect()
    }

    /// All problems as they are printed.
    fn problems(&self, text: impl AsRef<[u8]>) -> String {
        errors(&self.read(text).expect_err("problems"))
    }

    fn warnings(&self, text: impl AsRef<[u8]>) -> String {
        let stack = self.read(text).unwrap_or_else(|found| panic!("{}", lines(&found)));
        lines(&stack.warnings)
    }

    /// All problems and warnings of a file that is refused.
    fn all(&self, text: impl AsRef<[u8]>) -> String {
        lines(&self.read(text).expect_err("problems"))
    }
}

fn lines(found: &[Diagnostic]) -> String {
    found.iter().map(Diagnostic::to_string).collect::<Vec<_>>().join("\n")
}

fn of(severity: Severity, found: &[Diagnostic]) -> Vec<Diagnostic> {
    found.iter().filter(|diagnostic| diagnostic.severity == severity).cloned().collect()
}

fn errors(found: &[Diagnostic]) -> String {
    lines(&of(Severity::Error, found))
}

/// The body of the one function `f` with these fields, indented by four.
fn function(fields: &str) -> Value {
    let mut bodies = Case::default().bodies(format!("{HEAD}{fields}"));
    assert_eq!(bodies.len(), 1);
    bodies.remove(0)
}

fn refused(text: impl AsRef<[u8]>) -> String {
    Case::default().problems(text)
}
