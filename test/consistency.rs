//! Lookup, defaults and versions are the same everywhere in the repository.

use std::collections::BTreeSet;

use openfaas_pipe::config::{VARIABLES, ValueKind};
use serde_json::Value;

use crate::support::Pipe;

const README: &str = include_str!("../README.md");
const METADATA: &str = include_str!("../pipe.yml");
const CHANGELOG: &str = include_str!("../CHANGELOG.md");
const DOCKERFILE: &str = include_str!("../Dockerfile");
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// A section of the README, by its heading.
fn section(heading: &str) -> &'static str {
    let (_, section) = README.split_once(&format!("\n## {heading}\n")).expect(heading);
    section.split("\n## ").next().expect("missing section")
}

/// A row of the README's tables of variables.
struct Row {
    name: &'static str,
    /// Whether it is marked as one of the variables that `pipe.yml` takes from the context.
    from_context: bool,
    default: &'static str,
    usage: &'static str,
}

fn rows() -> Vec<Row> {
    let lines = section("Variables").lines().filter_map(|line| line.strip_prefix("| "));
    let rows = lines.filter(|line| !line.starts_with("Variable |"));
    rows.map(|line| {
        let (name, usage) = line.split_once(" | ").expect("expected two cells");
        let default = usage.split("Default: `").nth(1).and_then(|rest| rest.split('`').next());
        Row {
            name: name.split(' ').next().expect("missing name"),
            from_context: name.contains(r"(\*\*)"),
            default: default.unwrap_or_default(),
            usage,
        }
    })
    .collect()
}

fn metadata() -> Value {
    serde_saphyr::from_str(METADATA).expect("invalid YAML")
}

/// The names of the variables in `pipe.yml`.
fn from_context() -> Vec<String> {
    let metadata = metadata();
    let variables = metadata["variables"].as_array().expect("not a list");
    variables.iter().map(|variable| variable["name"].as_str().expect("missing name").to_owned()).collect()
}

#[test]
fn readme_tables_list_every_variable_with_its_default() {
    let mut documented: Vec<_> = rows().iter().map(|row| (row.name, row.default)).collect();
    let mut known: Vec<_> = VARIABLES.iter().map(|variable| (variable.name, variable.default)).collect();
    documented.sort_unstable();
    known.sort_unstable();
    assert_eq!(documented, known);
}

#[test]
fn readme_says_which_variables_are_lists() {
    let list = regex_lite::Regex::new(r"\b[Ll]ist\b").expect("invalid regular expression");
    for row in rows() {
        let variable = VARIABLES.iter().find(|variable| variable.name == row.name).expect(row.name);
        assert_eq!(list.is_match(row.usage), variable.kind.is_list(), "{}", row.name);
    }
}

#[test]
fn yaml_definition_lists_known_variables_and_the_current_version() {
    let definition = section("YAML Definition");
    assert!(definition.contains(&format!("```yaml\n- pipe: openfaas-pipe/openfaas-pipe:{VERSION}\n  variables:\n")));
    let block =
        definition.split("  variables:\n").nth(1).and_then(|rest| rest.split("```").next()).expect("missing block");
    for line in block.lines() {
        let name = line.trim_start_matches([' ', '#']).split(':').next().expect("missing name");
        let variable = VARIABLES.iter().find(|variable| variable.name == name).expect(name);
        let value = match variable.kind {
            ValueKind::Boolean => "'<boolean>'",
            ValueKind::Duration => "'<duration>'",
            ValueKind::Number => "'<number>'",
            ValueKind::List | ValueKind::Headers | ValueKind::SecretList => "['<string>']",
            ValueKind::Text | ValueKind::Verbatim | ValueKind::Secret => "'<string>'",
        };
        let default = match variable.default {
            "" => String::new(),
            default => format!(" Default: '{default}'."),
        };
        let expected = match name {
            "OPENFAAS_URL" => format!("    OPENFAAS_URL: {value}"),
            name => format!("    # {name}: {value} # Optional.{default}"),
        };
        assert_eq!(line, expected);
    }
}

#[test]
fn metadata_variables_are_known_and_default_to_themselves() {
    let metadata = metadata();
    for variable in metadata["variables"].as_array().expect("not a list") {
        let name = variable["name"].as_str().expect("missing name");
        assert!(VARIABLES.iter().any(|known| known.name == name), "{name}");
        assert_eq!(variable["default"], format!("${name}"));
    }
}

#[test]
fn readme_marks_the_variables_taken_from_the_context() {
    let marked: BTreeSet<String> =
        rows().iter().filter(|row| row.from_context).map(|row| row.name.to_owned()).collect();
    assert_eq!(marked, BTreeSet::from_iter(from_context()));
}

#[test]
fn metadata_has_the_required_fields() {
    let metadata = metadata();
    for field in ["name", "image", "description", "category", "repository", "vendor", "maintainer", "tags", "variables"]
    {
        assert!(!metadata[field].is_null(), "{field}");
    }
    assert_eq!(metadata["repository"], env!("CARGO_PKG_REPOSITORY"));
}

#[test]
fn versions_agree() {
    let image = metadata()["image"].as_str().expect("missing image").to_owned();
    assert_eq!(image, format!("openfaaspipe/openfaas-pipe:{VERSION}"));
    let entry = CHANGELOG.lines().find_map(|line| line.strip_prefix("## "));
    assert_eq!(entry, Some(VERSION), "the changelog's first entry");
    assert!(DOCKERFILE.contains(&format!("org.opencontainers.image.version=\"{VERSION}\"")));
    let docs =
        [include_str!("../docs/access.md"), include_str!("../docs/cloud.md"), include_str!("../docs/examples.md")];
    for text in [README, include_str!("../bitbucket-pipelines.yml")].into_iter().chain(docs) {
        for reference in text.split("openfaas-pipe/openfaas-pipe:").skip(1) {
            assert!(reference.starts_with(VERSION), "openfaas-pipe/openfaas-pipe:{}", &reference[..10]);
        }
    }
}

#[test]
fn changelog_names_only_known_variables() {
    let entry = CHANGELOG.split("\n## ").nth(1).expect("cannot read directory");
    let names = entry
        .split('`')
        .skip(1)
        .step_by(2)
        .filter(|name| name.len() > 2 && name.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_'));
    for name in names {
        assert!(VARIABLES.iter().any(|variable| variable.name == name), "{name}");
    }
}

#[test]
fn dockerfile_labels_match_cargo_toml() {
    for (label, value) in [
        ("title", env!("CARGO_PKG_NAME")),
        ("description", env!("CARGO_PKG_DESCRIPTION")),
        ("source", env!("CARGO_PKG_REPOSITORY")),
        ("licenses", env!("CARGO_PKG_LICENSE")),
    ] {
        assert!(DOCKERFILE.contains(&format!("org.opencontainers.image.{label}=\"{value}\"")), "{label}");
    }
    let rust = format!("ARG BUILDER=rust:{}", env!("CARGO_PKG_RUST_VERSION"));
    assert!(DOCKERFILE.contains(&rust), "{rust}");
}

#[test]
fn exit_codes_are_documented() {
    use openfaas_pipe::diagnostic::Failure;
    let failures = [
        Failure::Failed,
        Failure::Input,
        Failure::Permission,
        Failure::Unreachable,
        Failure::NotReady,
        Failure::Differences,
    ];
    let details = section("Details");
    for failure in failures {
        assert!(details.contains(&format!("\n| {} | ", failure.exit_code())), "{}", failure.as_str());
    }
    let stopped = [Failure::Interrupted, Failure::Terminated].map(|failure| failure.exit_code().to_string());
    assert!(details.contains(&format!("\n| {} | ", stopped.join(", "))));
}

/// Words in the names of variables that hold secrets, and the names that have one of them and hold none.
const SECRET_WORDS: [&str; 6] = ["PASSWORD", "TOKEN", "KEY", "AUTH_CONFIG", "HEADERS", "SECRET"];
const NO_SECRETS: [&str; 2] = ["SECRETS", "SECRET_FILES"];

/// The variables that hold secrets as their kind says, and those that their names tell; the two must be the same.
fn secrets() -> Vec<&'static str> {
    let is_secret = |kind| matches!(kind, ValueKind::Secret | ValueKind::Headers | ValueKind::SecretList);
    let secrets = VARIABLES.iter().filter(|variable| is_secret(variable.kind)).map(|variable| variable.name);
    let by_name = VARIABLES
        .iter()
        .map(|variable| variable.name)
        .filter(|name| SECRET_WORDS.iter().any(|word| name.contains(word)) && !NO_SECRETS.contains(name));
    let (secrets, by_name): (Vec<_>, Vec<_>) = (secrets.collect(), by_name.collect());
    assert_eq!(secrets, by_name);
    secrets
}

#[test]
fn every_secret_variable_is_masked_and_never_substituted() {
    const VALUE: &str = "cGFzc3dvcmQ-of-the-test";
    let known = secrets().into_iter().map(|name| {
        let kind = VARIABLES.iter().find(|variable| variable.name == name).expect(name).kind;
        match kind {
            ValueKind::Secret => (name.to_owned(), VALUE.to_owned()),
            _ => (format!("{name}_0"), format!("x-api-key: {VALUE}")),
        }
    });
    let proxies = ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy", "REPORT_PROXY"];
    let proxies = proxies.map(|name| (name.to_owned(), format!("http://user:{VALUE}@proxy.example.com")));
    let token = ("PIPELINES_JWT_TOKEN".to_owned(), VALUE.to_owned());
    for (name, value) in known.chain(proxies).chain([token]) {
        let stack =
            format!("provider: {{name: openfaas}}\nfunctions: {{f: {{image: 'a/f:1', fprocess: '${{{name}}}'}}}}\n");
        let pipe = Pipe::new().var("OPENFAAS_URL", "https://gw.example.com").var("DRY_RUN", "true").stack(&stack);
        // An error that shows its value.
        let ran = pipe.var(&name, &value).var("STRATEGY", VALUE).run().exits(2).says("unallowed value `***`");
        ran.does_not_say(VALUE).says(&format!("`{name}` holds a secret of the pipe and is never substituted"));
    }
}
