//! The rule for every variable: it is read as documented, or it is reported; never neither.

use std::collections::BTreeSet;
use std::ffi::OsString;

use openfaas_pipe::config::{Environment, Problems, ValueKind, Variable, read, warnings};
use openfaas_pipe::function::Command;

/// The ways in which a variable is set, by Bitbucket or by hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    Text,
    /// A YAML list with these items.
    List,
    /// The same as one text: `['a', 'b']`.
    Flow,
    /// `NAME_COUNT` alone.
    Count,
    /// `NAME_0` alone.
    Item,
    /// `NAME` and `NAME_COUNT`.
    Both,
    /// `NAME_COUNT` is less than there are items.
    Surplus,
}

impl Shape {
    pub(crate) const ALL: [Self; 7] =
        [Self::Text, Self::List, Self::Flow, Self::Count, Self::Item, Self::Both, Self::Surplus];

    /// The variables of the environment that a variable in this shape becomes.
    fn pairs(self, name: &str, values: &[String]) -> Vec<(String, String)> {
        let text = || (name.to_owned(), values.first().cloned().unwrap_or_default());
        let count = |count: usize| (format!("{name}_COUNT"), count.to_string());
        let items = values.iter().enumerate().map(|(index, value)| (format!("{name}_{index}"), value.clone()));
        let quoted: Vec<String> = values.iter().map(|value| format!("'{}'", value.replace('\'', "''"))).collect();
        match self {
            Self::Text => vec![text()],
            Self::List => items.chain([count(values.len())]).collect(),
            Self::Flow => vec![(name.to_owned(), format!("[{}]", quoted.join(", ")))],
            Self::Count => vec![count(values.len())],
            Self::Item => items.take(1).collect(),
            Self::Both => items.chain([count(values.len()), text()]).collect(),
            Self::Surplus => items.chain([count(values.len().saturating_sub(1))]).collect(),
        }
    }
}

fn environment(command: Command, name: &str, pairs: Vec<(String, String)>) -> Environment {
    let others = [("COMMAND", command.name()), ("FUNCTION", "f"), ("BITBUCKET_REPO_FULL_NAME", "acme/etl")];
    let others = others.into_iter().filter(|(other, _)| *other != name);
    let others = others.map(|(name, value)| (name.to_owned(), value.to_owned()));
    Environment::new(others.chain(pairs).map(|(name, value)| (OsString::from(name), OsString::from(value))))
}

/// Panics if a variable in this shape has no effect and is not reported. The values are not blank, and not the default.
pub(crate) fn check(variable: &Variable, command: Command, shape: Shape, values: &[String]) {
    let name = variable.name;
    let pairs = shape.pairs(name, values);
    let set = environment(command, name, pairs.clone());
    let found = read(&set);
    let report = found.as_ref().err().map(|invalid| invalid.problems.report()).unwrap_or_default();
    let is_reported = report.lines().any(|line| {
        line.strip_suffix(':').is_some_and(|wrong| wrong == name || pairs.iter().any(|(part, _)| part == wrong))
    });
    let is_part_of_a_list = !matches!(shape, Shape::Text | Shape::Flow);
    if is_part_of_a_list && !variable.kind.is_list() {
        assert!(report.contains(&format!("{name}:\n- is a list, but takes one text: ")), "{name} {shape:?}: {report}");
    }
    let warnings = warnings(&set, command, &BTreeSet::new(), &Problems::default());
    let is_warned_about = warnings.iter().any(|warning| warning.contains(&format!("`{name}`")));
    let has_effect = || format!("{found:?}") != format!("{:?}", read(&environment(command, name, Vec::new())));
    // These have another reader or a documented condition, and `whoami` takes the variables of the step that it stands for.
    let is_elsewhere = command == Command::Whoami || matches!(name, "DEBUG" | "OPENFAAS_USERNAME");
    let is_secret = variable.kind == ValueKind::Secret;
    assert!(
        is_reported || is_warned_about || is_elsewhere || is_secret || has_effect(),
        "`{name}` as {shape:?} of {values:?} is neither read nor reported by {command}"
    );
}

/// Values that are not the default, each with `text` in it if the kind permits.
pub(crate) fn values(variable: &Variable, text: &str) -> Vec<String> {
    let value = match variable.kind {
        ValueKind::Boolean if variable.default == "true" => "false".to_owned(),
        ValueKind::Boolean => "true".to_owned(),
        ValueKind::Duration => "7s".to_owned(),
        ValueKind::Number => "7".to_owned(),
        ValueKind::Headers => format!("X-Header: {text}"),
        ValueKind::List | ValueKind::SecretList => format!("{text}=value"),
        _ => text.to_owned(),
    };
    vec![value.clone(), value]
}
