//! `COMMAND: diff`: what a deploy would change, function by function and field by field, without changing anything.

use std::collections::BTreeMap;

use crate::commands::concurrent::Session;
use crate::commands::images;
use crate::commands::permissions;
use crate::commands::prepare::{Loaded, Preparation, Rejected};
use crate::commands::progress::Reporter;
use crate::commands::removal::left_over;
use crate::commands::resources;
use crate::config::Deploy;
use crate::console::log::{self, quote};
use crate::diagnostic::{Diagnostic, Failure};
use crate::function::FunctionName;
use crate::function::compare::{Change, fields_of};
use crate::function::outcome::Outcome;
use crate::gateway::Error;
use crate::gateway::statuses::Statuses;
use crate::text::count;

pub(crate) async fn run(mut preparation: Preparation<'_>, deploy: &Deploy) -> Result<Outcome, Rejected> {
    let loaded = preparation.load_for_gateway().await;
    let http = deploy.images.check.then(|| preparation.registry_client()).flatten();
    let (mut loaded, gateway) = preparation.finish(loaded)?;
    let mut outcome = preparation.outcome(gateway.address(), Some(&loaded));
    tracing::info!("comparing {} with what runs at `{}`", loaded.in_words(), gateway.address());
    let needs = |functions| permissions::of_diff(deploy, functions);
    let reporter = &Reporter::new(&needs);
    let (signed_in, checked) =
        tokio::join!(gateway.sign_in(), images::check(&preparation, http.as_ref(), &deploy.images, &loaded));
    checked.apply(&mut loaded.functions, deploy.images.pin);
    let refused = signed_in.err().map(|error| reporter.run_failed(&error));
    let session = preparation.session(&gateway, reporter);
    let created = loaded.namespaces_for("CREATE_NAMESPACE", deploy.creator.is_some());
    let differences = match Diagnostic::worst(refused.into_iter().chain(checked.worst())) {
        Some(problem) => Err(problem),
        None => {
            let found = resources::find_namespaces(&session, created).await;
            differences(&session, &loaded, deploy, found).await.map_err(|error| reporter.run_failed(&error))
        }
    };
    outcome.problem = match differences {
        Ok(differences) => {
            let shown = render(&differences);
            if !shown.is_empty() {
                log::plain(shown);
            }
            verdict(&differences)
        }
        Err(problem) => Some(problem),
    };
    reporter.lacking(loaded.names());
    Ok(outcome)
}

enum Difference {
    /// It does not exist yet.
    New(Vec<Change>),
    Changed(Vec<Change>),
    /// It exists, and the stack file no longer names it.
    Pruned,
    None,
}

async fn differences(
    session: &Session<'_>,
    loaded: &Loaded,
    deploy: &Deploy,
    found: resources::Found,
) -> Result<Vec<(String, Difference)>, Error> {
    let Session { gateway, parallel, reporter, .. } = *session;
    reporter.first_error(found.values())?;
    let missing = resources::missing(&found);
    let names: Vec<_> = loaded.names().collect();
    // A provider refuses requests for a namespace that does not exist.
    let exists = |name: &&FunctionName| name.namespace.as_ref().is_none_or(|namespace| !missing.contains(namespace));
    let existing: Vec<_> = names.iter().filter(exists).collect();
    let complete = Statuses::complete(gateway, parallel).await;
    let readings = complete.read(&existing).await;
    reporter.first_error(&readings)?;
    // None of them is an error any more.
    let statuses: BTreeMap<_, _> = existing.into_iter().zip(readings.into_iter().flatten()).collect();
    let namespaces = names.iter().map(|name| name.namespace.as_deref()).collect();
    let mut reported = gateway.reported(&namespaces).await;
    reported.memory_limits &= !complete.lacks_limits();
    let mut differences = Vec::new();
    for (function, name) in loaded.functions.iter().zip(&names) {
        let deployment = &function.deployment;
        // Bitbucket does not mask values that come from the gateway.
        let seen = |mut changes: Vec<Change>| {
            changes.iter_mut().for_each(|change| change.hidden |= !deploy.show_values && change.is_environment());
            changes
        };
        let difference = match statuses.get(name).and_then(Option::as_ref) {
            None => Difference::New(seen(fields_of(deployment))),
            Some(status) => match reported.changes(status, deployment) {
                changes if changes.is_empty() => Difference::None,
                changes => Difference::Changed(seen(changes)),
            },
        };
        differences.push((name.to_string(), difference));
    }
    let unreported = reported.missing();
    if !unreported.is_empty() && differences.iter().any(|(_, difference)| !matches!(difference, Difference::New(_))) {
        tracing::info!("not reported by the gateway, and not compared: {unreported}");
    }
    if deploy.selection.options.prune {
        let left_over = left_over(gateway, loaded, &deploy.selection.options).await?;
        let pruned = left_over.iter().map(|target| target.to_string());
        differences.extend(pruned.map(|name| (name, Difference::Pruned)));
    }
    resources::planned(missing, "", &loaded.secrets);
    Ok(differences)
}

/// All differences as text: `+` is new, `~` changes, `-` goes.
fn render(differences: &[(String, Difference)]) -> String {
    let mut text = String::new();
    for (name, difference) in differences {
        let (sign, lines) = match difference {
            Difference::New(changes) => ('+', lines(changes)),
            Difference::Pruned => ('-', "    - no longer in the stack file\n".to_owned()),
            Difference::Changed(changes) => ('~', lines(changes)),
            Difference::None => continue,
        };
        text.push_str(&format!("{sign} {}\n{lines}", quote(name)));
    }
    text.truncate(text.trim_end().len());
    text
}

fn lines(changes: &[Change]) -> String {
    changes.iter().map(|change| format!("    {}\n", line(change))).collect()
}

fn line(change: &Change) -> String {
    let field = quote(&change.field);
    match (&change.old, &change.new) {
        (Some(_), Some(_)) if change.hidden => format!("~ {field}: changed (hidden)"),
        (old, new) if change.hidden => {
            let sign = if old.is_none() && new.is_some() { '+' } else { '-' };
            format!("{sign} {field}: (hidden)")
        }
        (Some(old), Some(new)) => format!("~ {field}: {} -> {}", value(old), value(new)),
        (Some(old), None) => format!("- {field}: {}", value(old)),
        (None, new) => format!("+ {field}: {}", value(new.as_deref().unwrap_or_default())),
    }
}

/// A value as it is shown, in quotes if it would not be seen otherwise.
fn value(text: &str) -> String {
    if text.is_empty() || text.trim() != text { format!("\"{}\"", log::one_line(text)) } else { quote(text) }
}

fn verdict(differences: &[(String, Difference)]) -> Option<Diagnostic> {
    let number = |is: fn(&Difference) -> bool| differences.iter().filter(|(_, difference)| is(difference)).count();
    let counts = [
        (number(|difference| matches!(difference, Difference::New(_))), "created"),
        (number(|difference| matches!(difference, Difference::Changed(_))), "updated"),
        (number(|difference| matches!(difference, Difference::Pruned)), "removed"),
    ];
    let parts: Vec<_> =
        counts.iter().filter(|(number, _)| *number > 0).map(|(number, verb)| format!("{number} {verb}")).collect();
    if parts.is_empty() {
        return None;
    }
    let all = counts.iter().map(|(number, _)| number).sum();
    let message = format!("a deploy would change {}: {}", count(all, "function"), parts.join(", "));
    Some(Diagnostic::new(Failure::Differences, message))
}

pub(crate) fn summary(outcome: &Outcome) -> String {
    match &outcome.problem {
        None => "no differences".to_owned(),
        Some(problem) if problem.failure == Failure::Differences => problem.message.clone(),
        Some(_) => "the differences are not known".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(field: &str, old: Option<&str>, new: Option<&str>, hidden: bool) -> Change {
        Change { field: field.to_owned(), old: old.map(str::to_owned), new: new.map(str::to_owned), hidden }
    }

    #[test]
    fn differences_are_shown_old_beside_new() {
        let changes = vec![
            change("image", Some("acme/f:1"), Some("acme/f:2"), false),
            change("env MODE", None, Some("a\nb"), false),
            change("env EMPTY", Some(" x"), Some(""), false),
            change("env DB_PASSWORD", Some("old"), Some("new"), true),
            change("env API_KEY", None, Some("new"), true),
            change("label tier", Some("web"), None, false),
            change("env OLD_TOKEN", Some("old"), None, true),
        ];
        let differences = [
            ("f.etl".to_owned(), Difference::Changed(changes)),
            ("same".to_owned(), Difference::None),
            ("new".to_owned(), Difference::New(vec![change("image", None, Some("acme/new:1"), false)])),
            ("gone".to_owned(), Difference::Pruned),
        ];
        insta::assert_snapshot!(render(&differences), @r#"
        ~ f.etl
            ~ image: acme/f:1 -> acme/f:2
            + env MODE: a\nb
            ~ env EMPTY: " x" -> ""
            ~ env DB_PASSWORD: changed (hidden)
            + env API_KEY: (hidden)
            - label tier: web
            - env OLD_TOKEN: (hidden)
        + new
            + image: acme/new:1
        - gone
            - no longer in the stack file
        "#);
        assert_eq!(
            verdict(&differences).unwrap().message,
            "a deploy would change 3 functions: 1 created, 1 updated, 1 removed"
        );
        assert_eq!(verdict(&[("same".to_owned(), Difference::None)]), None);
    }
}
