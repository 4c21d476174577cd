//! What stack files become, read as a whole.

mod deploy;
mod errors;
mod hostile;
mod values;

use std::path::Path;

use serde_json::{Value, json};

use super::*;

/// The start of a stack file, up to the fields of function `f`.
const HEAD: &str = "version: 1.0\nprovider:\n  name: openfaas\nfunctions:\n  f:\n    image: r/i:1\n";

/// What no function may get.
const TOKEN: &str = "the.step.token";

struct Run<'a> {
    options: Options,
    variables: &'a [(&'a str, &'a str)],
    base: &'a Path,
}

impl Default for Run<'_> {
    fn default() -> Self {
        Self { options: Options::default(), variables: &[], base: Path::new("/nonexistent") }
    }
}

impl Run<'_> {
    fn read(&self, text: impl AsRef<[u8]>) -> Result<Stack, Problems> {
        let source = Source { name: "stack.yml".to_owned(), text: text.as_ref().to_vec(), base: self.base.to_owned() };
        let variable = |name: &str| {
            let found = self.variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        let folder_digest = |path: &Path| match path.file_name() {
            Some(name) if name == "missing" => Err(format!("no such folder at {}", path.display())),
            name => Ok(format!("hash-of-{}", name.unwrap_or_default().to_string_lossy())),
        };
        let token_fault = |text: &str| text.contains(TOKEN).then(|| "holds a token".to_owned());
        let surroundings =
            Surroundings { variable: &variable, folder_digest: &folder_digest, token_fault: &token_fault };
        read(&source, &self.options, &surroundings)
    }

    /// The bodies that would be sent.
    fn bodies(&self, text: impl AsRef<[u8]>) -> Vec<Value> {
        let stack = self.read(text).unwrap_or_else(|problems| panic!("{problems}"));
        let body = |function: &Function| serde_json::to_value(&function.deployment).expect("JSON");
        stack.functions.iter().map(body).collect()
    }

    /// All problems as they are printed.
    fn problems(&self, text: impl AsRef<[u8]>) -> String {
        self.read(text).expect_err("problems").to_string()
    }

    fn warnings(&self, text: impl AsRef<[u8]>) -> String {
        let stack = self.read(text).unwrap_or_else(|problems| panic!("{problems}"));
        stack.warnings.iter().map(Problem::to_string).collect::<Vec<_>>().join("\n")
    }
}

/// The body of the one function `f` with these fields, indented by four.
fn function(fields: &str) -> Value {
    let mut bodies = Run::default().bodies(format!("{HEAD}{fields}"));
    assert_eq!(bodies.len(), 1);
    bodies.remove(0)
}

/// The environment of the one function `f`, from lines that are indented by six.
fn environment(lines: &str) -> Value {
    function(&format!("    environment:\n{lines}"))["envVars"].clone()
}

fn refused(text: impl AsRef<[u8]>) -> String {
    Run::default().problems(text)
}
