//! The `gcloud` commands that set up a project for a pipeline.

use thiserror::Error;

use super::{Bindings, Pool, Provider, State};

/// Why a command failed.
#[derive(Debug, Error)]
pub enum GcloudError {
    /// The command is not supported.
    #[error("unknown command `{0}`")]
    Command(String),
    /// A flag is missing.
    #[error("argument --{0}: must be specified")]
    Missing(&'static str),
    /// The command does not have this flag.
    #[error("unrecognized argument: --{0}")]
    Unrecognized(String),
    /// The subject of the command does not exist.
    #[error("NOT_FOUND: `{0}` does not exist")]
    NotFound(String),
    /// The command would create something that already exists.
    #[error("ALREADY_EXISTS: `{0}` already exists")]
    Exists(String),
    /// A mapping or condition is not supported.
    #[error("INVALID_ARGUMENT: cannot evaluate `{0}`")]
    Expression(String),
    /// A quote is not closed: a shell would read more lines.
    #[error("a quote is not closed")]
    Quote,
}

/// A parsed command.
struct Command {
    /// The words that are not flags, without `gcloud`.
    words: Vec<String>,
    flags: Vec<(String, String)>,
}

impl Command {
    fn flag(&self, name: &'static str) -> Result<&str, GcloudError> {
        self.optional(name).ok_or(GcloudError::Missing(name))
    }

    fn optional(&self, name: &str) -> Option<&str> {
        self.flags.iter().find(|(flag, _)| flag == name).map(|(_, value)| value.as_str())
    }

    fn accepts(&self, known: &[&str]) -> Result<(), GcloudError> {
        let unknown = self.flags.iter().find(|(flag, _)| flag != "project" && !known.contains(&flag.as_str()));
        unknown.map_or(Ok(()), |(flag, _)| Err(GcloudError::Unrecognized(flag.clone())))
    }
}

/// Runs commands, one per line. A backslash at the end of a line continues it.
pub(super) fn run(state: &mut State, commands: &str) -> Result<(), GcloudError> {
    for line in split(commands)?.into_iter().filter(|line| !line.is_empty()) {
        let command = parse(line)?;
        execute(state, &command)?;
    }
    Ok(())
}

fn execute(state: &mut State, command: &Command) -> Result<(), GcloudError> {
    let words: Vec<&str> = command.words.iter().map(String::as_str).collect();
    let project = match command.optional("project").or(state.project.as_deref()) {
        Some(project) if state.numbers.contains_key(project) => project.to_owned(),
        // The project number is allowed as well.
        Some(project) => match state.numbers.iter().find(|(_, number)| *number == project) {
            Some((id, _)) => id.clone(),
            None => return Err(GcloudError::NotFound(project.to_owned())),
        },
        None => return Err(GcloudError::Missing("project")),
    };
    let number = &state.numbers[&project];
    let pool_name = |pool: &str| format!("projects/{number}/locations/global/workloadIdentityPools/{pool}");
    match words[..] {
        ["iam", "workload-identity-pools", "create", pool] => {
            command.accepts(&["location", "display-name", "description"])?;
            command.flag("location")?;
            let name = pool_name(pool);
            if state.pools.contains_key(&name) {
                return Err(GcloudError::Exists(name));
            }
            state.pools.insert(name, Pool::default());
        }
        ["iam", "workload-identity-pools", "providers", "delete", provider] => {
            command.accepts(&["location", "workload-identity-pool", "quiet"])?;
            let name = pool_name(command.flag("workload-identity-pool")?);
            let pool = state.pools.get_mut(&name).ok_or(GcloudError::NotFound(name))?;
            pool.providers.remove(provider).ok_or_else(|| GcloudError::NotFound(provider.to_owned()))?;
        }
        ["iam", "workload-identity-pools", "providers", verb @ ("create-oidc" | "update-oidc"), provider] => {
            let flags = ["issuer-uri", "allowed-audiences", "attribute-mapping", "attribute-condition"];
            command
                .accepts(&[&["location", "workload-identity-pool", "disabled", "display-name"], &flags[..]].concat())?;
            command.flag("location")?;
            let name = pool_name(command.flag("workload-identity-pool")?);
            let pool = state.pools.get_mut(&name).ok_or(GcloudError::NotFound(name))?;
            match (verb, pool.providers.get_mut(provider)) {
                ("create-oidc", Some(_)) => return Err(GcloudError::Exists(provider.to_owned())),
                ("create-oidc", None) => {
                    let mut new = Provider {
                        issuer: command.flag("issuer-uri")?.to_owned(),
                        audiences: Vec::new(),
                        mapping: mapping(command.flag("attribute-mapping")?)?,
                        condition: Vec::new(),
                        disabled: false,
                    };
                    new.update(command)?;
                    pool.providers.insert(provider.to_owned(), new);
                }
                (_, Some(old)) => old.update(command)?,
                (_, None) => return Err(GcloudError::NotFound(provider.to_owned())),
            }
        }
        ["iam", "service-accounts", "create", account] => {
            command.accepts(&["display-name", "description"])?;
            let email = format!("{account}@{project}.iam.gserviceaccount.com");
            if state.service_accounts.contains_key(&email) {
                return Err(GcloudError::Exists(email));
            }
            state.service_accounts.insert(email, Bindings::default());
        }
        ["iam", "service-accounts", verb, email] => {
            command.accepts(&["role", "member"])?;
            let bindings = state.service_accounts.get_mut(email);
            bind(verb, bindings.ok_or_else(|| GcloudError::NotFound(email.to_owned()))?, command)?;
        }
        ["artifacts", "repositories", "create", repository] => {
            command.accepts(&["location", "repository-format", "description"])?;
            let name = format!("projects/{project}/locations/{}/repositories/{repository}", command.flag("location")?);
            if state.repositories.contains_key(&name) {
                return Err(GcloudError::Exists(name));
            }
            state.repositories.insert(name, Bindings::default());
        }
        ["artifacts", "repositories", verb, repository] => {
            command.accepts(&["location", "role", "member"])?;
            let name = format!("projects/{project}/locations/{}/repositories/{repository}", command.flag("location")?);
            bind(verb, state.repositories.get_mut(&name).ok_or(GcloudError::NotFound(name))?, command)?;
        }
        _ => return Err(GcloudError::Command(words.join(" "))),
    }
    Ok(())
}

impl Provider {
    fn update(&mut self, command: &Command) -> Result<(), GcloudError> {
        if let Some(issuer) = command.optional("issuer-uri") {
            issuer.clone_into(&mut self.issuer);
        }
        if let Some(audiences) = command.optional("allowed-audiences") {
            self.audiences = audiences.split(',').filter(|one| !one.is_empty()).map(str::to_owned).collect();
        }
        if let Some(given) = command.optional("attribute-mapping") {
            self.mapping = mapping(given)?;
        }
        if let Some(given) = command.optional("attribute-condition") {
            self.condition = condition(given)?;
        }
        self.disabled = command.optional("disabled").is_some();
        Ok(())
    }
}

fn bind(verb: &str, bindings: &mut Bindings, command: &Command) -> Result<(), GcloudError> {
    let binding = (command.flag("role")?.to_owned(), command.flag("member")?.to_owned());
    match verb {
        "add-iam-policy-binding" => bindings.0.push(binding),
        "remove-iam-policy-binding" => bindings.0.retain(|other| *other != binding),
        _ => return Err(GcloudError::Command(command.words.join(" "))),
    }
    Ok(())
}

/// Parses `google.subject=assertion.sub,attribute.x=assertion.y`.
fn mapping(text: &str) -> Result<Vec<(String, String)>, GcloudError> {
    let wrong = || GcloudError::Expression(text.to_owned());
    let one = |pair: &str| {
        let (target, expression) = pair.split_once('=').ok_or_else(wrong)?;
        let claim = expression.trim().strip_prefix("assertion.").ok_or_else(wrong)?;
        Ok((target.trim().to_owned(), claim.to_owned()))
    };
    let mapping: Vec<_> = text.split(',').map(one).collect::<Result<_, _>>()?;
    let has_subject = mapping.iter().any(|(target, _)| target == "google.subject");
    if has_subject { Ok(mapping) } else { Err(wrong()) }
}

/// Parses `assertion.x == 'y' && assertion.z == "w"`, the supported subset of CEL.
fn condition(text: &str) -> Result<Vec<(String, String)>, GcloudError> {
    let wrong = || GcloudError::Expression(text.to_owned());
    let one = |clause: &str| {
        let (claim, value) = clause.split_once("==").ok_or_else(wrong)?;
        let claim = claim.trim().strip_prefix("assertion.").ok_or_else(wrong)?;
        let value = value.trim();
        let unquoted = ['\'', '"'].iter().find_map(|&quote| value.strip_prefix(quote)?.strip_suffix(quote));
        Ok((claim.to_owned(), unquoted.ok_or_else(wrong)?.to_owned()))
    };
    text.split("&&").map(one).collect()
}

fn parse(line: Vec<String>) -> Result<Command, GcloudError> {
    let mut given = line.into_iter();
    match given.next() {
        Some(program) if program == "gcloud" => {}
        other => return Err(GcloudError::Command(other.unwrap_or_default())),
    }
    let (mut words, mut flags) = (Vec::new(), Vec::new());
    let mut given = given.peekable();
    while let Some(word) = given.next() {
        match word.strip_prefix("--") {
            None => words.push(word),
            Some(flag) => match flag.split_once('=') {
                Some((name, value)) => flags.push((name.to_owned(), value.to_owned())),
                None => {
                    let value = given.next_if(|next| !next.starts_with("--")).unwrap_or_default();
                    flags.push((flag.to_owned(), value));
                }
            },
        }
    }
    Ok(Command { words, flags })
}

/// Splits a script into lines and words as a shell does: quotes, escapes, continued lines, comments.
fn split(script: &str) -> Result<Vec<Vec<String>>, GcloudError> {
    let mut lines = vec![Vec::new()];
    let mut word: Option<String> = None;
    let mut letters = script.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '\n' => {
                lines.last_mut().expect("the list is never empty").extend(word.take());
                lines.push(Vec::new());
            }
            ' ' | '\t' => lines.last_mut().expect("the list is never empty").extend(word.take()),
            '#' if word.is_none() => while letters.next_if(|&letter| letter != '\n').is_some() {},
            '\\' => match letters.next() {
                Some('\n') | None => {}
                Some(escaped) => word.get_or_insert_default().push(escaped),
            },
            '\'' | '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match letters.next().ok_or(GcloudError::Quote)? {
                        end if end == letter => break,
                        '\\' if letter == '"' => word.push(letters.next().ok_or(GcloudError::Quote)?),
                        inside => word.push(inside),
                    }
                }
            }
            other => word.get_or_insert_default().push(other),
        }
    }
    lines.last_mut().expect("the list is never empty").extend(word);
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn script_is_split_like_in_a_shell() {
        let script = "a 'b c' --d=\"e 'f'\" \\\n  g\\ h # a comment\n\n# another\ni";
        let words = |line: &[&str]| line.iter().map(|&word| word.to_owned()).collect::<Vec<_>>();
        let expected = [words(&["a", "b c", "--d=e 'f'", "g h"]), words(&[]), words(&[]), words(&["i"])];
        assert_eq!(split(script).unwrap(), expected);
        assert!(matches!(split("a 'b"), Err(GcloudError::Quote)));
    }

    #[test]
    fn conditions_compare_claims() {
        let pair = |claim: &str, value: &str| (claim.to_owned(), value.to_owned());
        assert_eq!(condition("assertion.a=='b'").unwrap(), [pair("a", "b")]);
        assert_eq!(condition("assertion.a == \"b\" && assertion.c=='d'").unwrap(), [pair("a", "b"), pair("c", "d")]);
        assert!(matches!(condition("assertion.a.startsWith('b')"), Err(GcloudError::Expression(_))));
    }

    #[test]
    fn invalid_commands_are_rejected() {
        let mut state = State { project: Some("p".to_owned()), ..State::default() };
        state.numbers.insert("p".to_owned(), "1".to_owned());
        for (command, error) in [
            ("gcloud compute instances list", "unknown command `compute instances list`"),
            ("gcloud iam workload-identity-pools create x", "argument --location: must be specified"),
            ("gcloud iam service-accounts create x --wrong=1", "unrecognized argument: --wrong"),
            (
                "gcloud artifacts repositories add-iam-policy-binding r --location=l --role=x --member=y",
                "NOT_FOUND: `projects/p/locations/l/repositories/r` does not exist",
            ),
            ("gcloud --project=q iam service-accounts create x", "NOT_FOUND: `q` does not exist"),
        ] {
            assert_eq!(run(&mut state, command).unwrap_err().to_string(), error, "{command}");
        }
    }
}
