//! Reads what is selected of the stack files and what is deployed of it, for `deploy`, `diff`, `remove`, `login` and `whoami`.

use std::collections::BTreeSet;

use regex_lite::Regex;

use super::calls::{namespace, verify};
use super::variables::{Entry, Variables};
use super::{BLANK, Deploy, ImagesFrom, Selection, Strategy, TagFormat};
use crate::console::log::whole_or_length;
use crate::console::redact::Secret;
use crate::image_tag::git;
use crate::registry::Platform;
use crate::stack::labels::GitLabels;
use crate::stack::{self, Selector, secret_name_fault};
use crate::text::variable_name;

/// The program that runs in the script is the one that faas-cli asks when it builds the image.
const DESCRIBE: &str =
    "`describe` takes its text from `GIT_DESCRIBE`, which has no value; write in the step's `script:`
  - export GIT_DESCRIBE=$(git describe --tags --always)
  and in the pipe's `variables:`
    GIT_DESCRIBE: $GIT_DESCRIBE";

/// Checks of images before a deploy (`CHECK_IMAGES`, `PIN_IMAGES`, `IMAGE_PLATFORMS`).
#[derive(Clone, Debug, Default)]
pub(crate) struct ImageChecks {
    /// True if registries are asked at all.
    pub(crate) check: bool,
    /// True if each image is deployed by its digest.
    pub(crate) pin: bool,
    pub(crate) platforms: Vec<Platform>,
}

#[derive(Debug)]
pub(crate) struct GivenSecret {
    pub(crate) name: String,
    pub(crate) source: SecretSource,
}

#[derive(Debug)]
pub(crate) enum SecretSource {
    Value(Secret),
    File(String),
}

impl GivenSecret {
    pub(crate) fn variable(&self) -> &'static str {
        match self.source {
            SecretSource::Value(_) => "SECRET_VALUES",
            SecretSource::File(_) => "SECRET_FILES",
        }
    }
}

/// The whole stack file if the selection is wrong.
pub(super) fn selection(variables: Variables<'_>) -> Selection {
    let (filter, regex) = (variables.filter(), variables.regex());
    let is_both = filter.value.is_some() && regex.value.is_some();
    if is_both {
        filter.refuse("`FILTER` and `REGEX` cannot be used together: remove one");
    }
    let regex = regex.parsed_by(|text| {
        let regex = Regex::new(text).map_err(|error| {
            format!(
                "is not a valid regular expression: {}; look-around and `\\p{{…}}` are not supported, and `FILTER` \
                 accepts a wildcard instead",
                whole_or_length(&error.to_string())
            )
        })?;
        // As `first|$SECOND` does if the variable has no value.
        let has_empty_alternative = text.contains('|') && matches_all(&regex);
        let message = "has an alternative that matches every name: check that the variables in it are defined for this \
                       deployment environment";
        if has_empty_alternative { Err(message.to_owned()) } else { Ok(regex) }
    });
    let selector = filter.owned().map(Selector::Filter).or(regex.map(Selector::Regex));
    Selection {
        stack_files: stack_files(variables.stack_file()),
        tag_format: tag_format(variables),
        options: stack::Options {
            namespace: namespace(variables.openfaas_namespace()),
            default_namespace: namespace(variables.openfaas_ns()),
            has_gateway: variables.openfaas_url().value.is_some(),
            selector: selector.filter(|_| !is_both),
            is_literal: !variables.envsubst().boolean(),
            ..stack::Options::default()
        },
    }
}

/// True if an expression selects all functions: it matches a text that no function is named, as `[^a]` does too, and names of all kinds.
pub(super) fn matches_all(regex: &Regex) -> bool {
    let letters = ('a'..='z').chain('0'..='9').map(String::from);
    letters.chain(["\0", "my-function", "f-2"].map(String::from)).all(|name| regex.is_match(&name))
}

/// A path may have a comma or a space, but seldom one after the end of another path.
fn stack_files(entry: Entry<'_>) -> Vec<String> {
    let items = entry.list();
    entry.check_lines(&items, |line| {
        let paths: Vec<String> = line.split([',', ' ']).filter(|path| !path.is_empty()).map(str::to_owned).collect();
        let is_path = |path: &String| path.ends_with(".yml") || path.ends_with(".yaml");
        if paths.iter().all(is_path) { paths } else { Vec::new() }
    });
    items
}

fn tag_format(variables: Variables<'_>) -> TagFormat {
    let text = variables.git_describe().owned().unwrap_or_default();
    let described = TagFormat::Described(text.clone());
    let formats = [
        ("latest", &TagFormat::Latest),
        ("sha", &TagFormat::Git(git::Format::Sha)),
        ("branch", &TagFormat::Git(git::Format::Branch)),
        ("describe", &described),
        ("digest", &TagFormat::Digest),
    ];
    let format = variables.tag_format().choice(&formats).clone();
    // The images have their tags and digests from the earlier run.
    if variables.images_from().value.is_some() {
        return TagFormat::Latest;
    }
    if format != described {
        return format;
    }
    if text.is_empty() || variable_name(&text).is_some() {
        variables.tag_format().refuse(DESCRIBE);
        return TagFormat::Latest;
    }
    let is_in_a_tag = |character: char| character.is_ascii_alphanumeric() || "_.-".contains(character);
    match text.chars().find(|character| !is_in_a_tag(*character)) {
        None => return format,
        Some('\n' | '\r') => variables.git_describe().refuse("has more than one line: an image tag has one"),
        Some(character) => {
            let (text, character) = (whole_or_length(&text), character.escape_debug());
            let message = "which no image tag can have: use another git tag, or `TAG_FORMAT: sha`";
            variables.git_describe().refuse(format!("`{text}` contains `{character}`, {message}"));
        }
    }
    TagFormat::Latest
}

pub(super) fn deploy(variables: Variables<'_>) -> Deploy {
    let strategies = [("update", Strategy::Update), ("replace", Strategy::Replace), ("create", Strategy::Create)];
    let mut selection = selection(variables);
    let images_from = variables.images_from().value.map(|text| match text {
        _ if text.eq_ignore_ascii_case("pipeline") => ImagesFrom::Pipeline,
        path => ImagesFrom::File(path.to_owned()),
    });
    let owner = repository_if(variables.owner_label());
    let verify = verify(variables);
    let wait = variables.wait().boolean() || verify.is_some();
    let wait_timeout = variables.wait_timeout().duration();
    let rollback = variables.rollback().boolean();
    if rollback && !wait && !variables.wait().is_wrong() && !variables.verify().is_wrong() {
        let message =
            "requires `WAIT: 'true'` or `VERIFY`: without them, the pipe does not know whether a function became ready";
        variables.rollback().refuse(message);
    }
    let prune = variables.prune().boolean();
    if prune && owner.is_none() && !variables.owner_label().is_wrong() {
        variables.prune().refuse("requires `OWNER_LABEL: 'true'`: only functions with that label are removed");
    }
    selection.options = stack::Options {
        env_vars: env_vars(variables.env_vars()),
        labels: unique(variables.labels()),
        annotations: unique(variables.annotations()),
        secrets: secret_names(variables.secrets()),
        constraints: variables.constraints().items_with('='),
        read_only: variables.read_only().boolean(),
        prune,
        ..selection.options
    };
    Deploy {
        selection,
        strategy: variables.strategy().choice(&strategies),
        given_secrets: given_secrets(variables).into(),
        creator: repository_if(variables.create_namespace()),
        git_labels: git_labels(variables),
        wait: wait.then_some(wait_timeout),
        wait_timeout,
        verify,
        show_values: variables.show_values().boolean(),
        rollback,
        only_changed: variables.only_changed().boolean(),
        images_from,
        owner,
        images: image_checks(variables),
        dry_run: variables.dry_run().boolean(),
    }
}

/// Keys and values, of which none would replace another.
fn unique(entry: Entry<'_>) -> Vec<(String, String)> {
    let pairs = entry.pairs('=', name_fault);
    check_unique(entry, pairs.iter().map(|(name, _)| name));
    pairs
}

fn check_unique<'a>(entry: Entry<'_>, names: impl Iterator<Item = &'a String>) {
    let mut known = BTreeSet::new();
    for name in names.filter(|name| !known.insert(*name)) {
        entry.refuse(format!("`{}` is listed twice: remove one", whole_or_length(name)));
    }
}

/// `SECRETS`. A value given by mistake is not shown.
fn secret_names(entry: Entry<'_>) -> Vec<String> {
    if entry.list().iter().any(|item| item.contains('=')) {
        entry.refuse("takes names: write `name=value` as an item of `SECRET_VALUES`");
        return Vec::new();
    }
    let names = entry.names();
    check_unique(entry, names.iter());
    names
}

/// The fault of a key that should be a name.
fn name_fault(key: &str) -> Option<String> {
    let first = key.chars().next().filter(|first| "(%@`<&|*".contains(*first));
    let begins = |first: char| format!("begins with `{first}`, which no name does");
    let space = || key.contains(char::is_whitespace).then(|| "has white space before its `=`".to_owned());
    let option = || key.chars().next().filter(|first| "$-#".contains(*first)).map(begins);
    first.map(begins).or_else(space).or_else(option)
}

/// Empty values are refused as faas-cli does: most of them come from a variable that is not set.
fn env_vars(entry: Entry<'_>) -> Vec<(String, String)> {
    let pairs = unique(entry);
    for (name, _) in pairs.iter().filter(|(_, value)| value.is_empty()) {
        entry.refuse(format!(
            "`{}` has an empty value: check that the variable it refers to is defined for this deployment environment; \
             write a value that is meant to be empty in the stack file",
            whole_or_length(name)
        ));
    }
    pairs
}

fn image_checks(variables: Variables<'_>) -> ImageChecks {
    let pin = variables.pin_images().boolean();
    let platforms = variables.image_platforms().list_of(str::parse::<Platform>);
    let check = variables.check_images().boolean() || pin || !platforms.is_empty();
    ImageChecks { check, pin, platforms }
}

fn given_secrets(variables: Variables<'_>) -> Vec<GivenSecret> {
    // The name is not shown: it may be a line of a value that was split at its line breaks.
    let key_fault = |name: &str| secret_name_fault(name).map(|fault| format!("has an invalid name: {fault}"));
    let entry = variables.secret_values();
    let values = entry.pairs('=', key_fault);
    if entry.is_wrong() && entry.is_lines() {
        // In place of the other errors, which might show a part of the value as a name.
        let message = "has a line that is not `name=value`: a value of several lines needs a list, ['name=$VARIABLE'], or \
                       `SECRET_FILES`";
        variables.problems.borrow_mut().replace(entry.variable.name, message);
        return Vec::new();
    }
    let values = values.into_iter().map(|(name, value)| {
        // Of each line too: a certificate or a key is also printed line by line.
        let source = SecretSource::Value(Secret::of_lines(&value));
        (GivenSecret { name, source }, value.trim().is_empty())
    });
    let files = variables.secret_files().pairs('=', key_fault).into_iter().map(|(name, path)| {
        let path = path.trim();
        (GivenSecret { name, source: SecretSource::File(path.to_owned()) }, path.is_empty())
    });
    let mut names = BTreeSet::new();
    let mut given = Vec::new();
    for (secret, is_empty) in values.chain(files) {
        let refuse = |message: &str| {
            let message = format!("`{}` {message}", whole_or_length(&secret.name));
            variables.problems.borrow_mut().add(secret.variable(), message);
        };
        if is_empty {
            refuse(BLANK);
            continue;
        }
        if let SecretSource::File(path) = &secret.source
            && !is_path(path)
        {
            let _ = Secret::of_lines(path);
            refuse("is not a path: to pass the value itself, use `SECRET_VALUES`");
            continue;
        }
        // It stays in the list, so that its file is checked too.
        if !names.insert(secret.name.clone()) {
            refuse("is listed twice: remove one");
        }
        given.push(secret);
    }
    given
}

/// False if a text is several lines, or has a part that is too long for a file's name: the content of a file, such as a key.
fn is_path(text: &str) -> bool {
    !text.contains('\n') && text.split('/').all(|part| part.len() <= 255)
}

/// The commit, for `GIT_LABELS`; `None` if it is not set.
fn git_labels(variables: Variables<'_>) -> Option<GitLabels> {
    let repository = repository_if(variables.git_labels())?;
    let environment = variables.environment;
    let Some(commit) = environment.text("BITBUCKET_COMMIT") else {
        let message = "requires `BITBUCKET_COMMIT`, which Bitbucket sets, but here it is not set";
        variables.git_labels().refuse(message);
        return None;
    };
    let branch = environment.text("BITBUCKET_BRANCH").or(environment.text("BITBUCKET_TAG"));
    Some(GitLabels::new(&repository, commit, branch))
}

/// The repository as `WORKSPACE/SLUG`, which a variable needs if it is true.
pub(super) fn repository_if(entry: Entry<'_>) -> Option<String> {
    if !entry.boolean() {
        return None;
    }
    let environment = entry.environment;
    let parts = || environment.text("BITBUCKET_WORKSPACE").zip(environment.text("BITBUCKET_REPO_SLUG"));
    let name = environment.owned("BITBUCKET_REPO_FULL_NAME");
    let name = name.or_else(|| parts().map(|(workspace, slug)| format!("{workspace}/{slug}")));
    if name.is_none() {
        entry.refuse(
            "requires the name of the repository: Bitbucket sets `BITBUCKET_REPO_FULL_NAME`, or `BITBUCKET_WORKSPACE` \
             and `BITBUCKET_REPO_SLUG`, but here none of them is set",
        );
    }
    name
}
