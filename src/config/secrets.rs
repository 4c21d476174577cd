//! Hides the environment's secrets in all output, whether the command uses them or not.

use super::list;
use super::value::is_unexpanded;
use super::variables::Sensitive;
use super::{Environment, VARIABLES, ValueKind};
use crate::console::redact::Secret;
use crate::function::compare;
use crate::text::{self, variable_name};

/// A [`Secret`] is hidden from the moment that it is made.
pub(super) fn hide(environment: &Environment) {
    for name in environment.names() {
        let Some(text) = environment.text(name) else { continue };
        // Any variable may be shown in an error about it, and people write URLs with passwords where a host is wanted.
        if VARIABLES.iter().any(|variable| variable.kind != ValueKind::Verbatim && variable.owns(name)) {
            urls(text).for_each(hide_password);
        }
        let Some(sensitive) = Sensitive::of(name) else { continue };
        match sensitive {
            // What cannot be a token is shown in the error that says so.
            Sensitive::Token if variable_name(text).is_some() => {}
            Sensitive::Token => _ = Secret::token(text.to_owned()),
            Sensitive::Secret => _ = Secret::new(text.to_owned()),
            Sensitive::Values | Sensitive::Headers => {
                let separator = if name.contains("HEADERS") { ':' } else { '=' };
                items(environment, name, text)
                    .iter()
                    .for_each(|item| hide_item(item, separator, sensitive == Sensitive::Headers));
            }
            Sensitive::Url => {
                text.lines().for_each(hide_password);
                parts(text).for_each(hide_query);
            }
        }
    }
}

/// True if a variable holds a secret, which the stack file must not pass to a function.
pub(crate) fn is_secret(environment: &Environment, name: &str) -> bool {
    match Sensitive::of(name) {
        // The query of a stack file's URL is often a token.
        Some(Sensitive::Url) => {
            environment.text(name).is_some_and(|text| password_in_url(text).is_some() || text.contains('?'))
        }
        sensitive => sensitive.is_some(),
    }
}

/// The items of a list, or the one item that `NAME_0` has. A list that cannot be read is an error, which must not show it either.
fn items(environment: &Environment, name: &str, text: &str) -> Vec<String> {
    if VARIABLES.iter().all(|variable| variable.name != name) {
        return vec![text.to_owned()];
    }
    list::items(environment, name)
}

fn hide_item(item: &str, separator: char, is_header: bool) {
    // Without the list's own separator, the name may have been forgotten: `=` may be the padding of base64.
    let whole = (!item.contains(separator)).then_some(("auth", item));
    for (name, value) in item.split_once(['=', ':']).into_iter().chain(whole) {
        hide_value(item, name, value.trim(), is_header);
    }
}

fn hide_value(item: &str, name: &str, value: &str, is_header: bool) {
    // `Accept: text/plain` must not mask what it has in common with the log.
    if value.is_empty()
        || is_unexpanded(value)
        || text::is_absent(value)
        || is_header && !compare::is_secret(name, value)
    {
        return;
    }
    let _ = Secret::of_lines(value);
    // A server may return the credentials of a header without their scheme, such as `Bearer`, or without a cookie's name.
    if item.find(':').is_some_and(|colon| !item[..colon].contains('=')) {
        let credentials = value.split_once(' ').map(|(_, credentials)| credentials);
        let cookies = value.split(';').filter_map(|part| Some(part.split_once('=')?.1));
        // Shorter ones occur anywhere.
        let parts = credentials.into_iter().chain(cookies).map(|part| part.trim().trim_matches('"'));
        parts.filter(|part| part.len() >= 8).for_each(|part| drop(Secret::new(part.to_owned())));
    }
}

/// A text if it is a URL, and the URLs within it, but for those that are values such as that of `A=https://…`.
fn urls(text: &str) -> impl Iterator<Item = &str> {
    let is_url = |part: &&str| {
        let scheme = part.split_once("://").map_or("", |(scheme, _)| scheme);
        !scheme.is_empty() && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
    };
    parts(text).filter(is_url)
}

/// A text, and the parts of it that may be items of a list.
fn parts(text: &str) -> impl Iterator<Item = &str> {
    let between = |character: char| character.is_whitespace() || "'\"[]{},".contains(character);
    text.split(between).chain([text])
}

/// Hides what follows the `?` of a URL, and the values in it, also if the URL is not valid.
fn hide_query(url: &str) {
    let Some((_, rest)) = url.split_once('?') else { return };
    let query = rest.split('#').next().unwrap_or_default();
    let values = url::form_urlencoded::parse(query.as_bytes()).map(|(_, value)| value.into_owned());
    // Shorter ones occur anywhere.
    let parts = values.chain([query.to_owned()]).filter(|part| part.len() >= 8);
    parts.for_each(|part| drop(Secret::new(part)));
}

fn hide_password(url: &str) {
    let Some((userinfo, password)) = password_in_url(url) else { return };
    for text in [userinfo, password] {
        let _ = Secret::new(text.to_owned());
        let _ = Secret::new(percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned());
    }
}

/// The user information of a URL, and the password in it (RFC 3986, section 3.2.1), also if the URL is not valid. A user name
/// alone may be a token.
fn password_in_url(text: &str) -> Option<(&str, &str)> {
    let (has_scheme, rest) = text.split_once("://").map_or((false, text), |(_, rest)| (true, rest));
    let (userinfo, _) = rest.split(['/', '?', '#']).next()?.rsplit_once('@')?;
    match userinfo.split_once(':') {
        Some((_, password)) => Some((userinfo, password)),
        None => has_scheme.then_some((userinfo, userinfo)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::console::redact;

    #[test]
    fn password_is_found_in_valid_and_invalid_urls() {
        for (text, password) in [
            ("https://user:secret@host/stack.yml", Some("secret")),
            ("user:secret@host:3128", Some("secret")),
            ("https://user:secret@host:99999", Some("secret")),
            ("https://user:se:cr@et@host", Some("se:cr@et")),
            ("https://token@host", Some("token")),
            ("https://host/a@b:c", None),
            ("https://host:8080", None),
            ("stack@v1.yml", None),
            ("dir:1/stack@v1.yml", None),
        ] {
            assert_eq!(password_in_url(text).map(|(_, password)| password), password, "{text}");
        }
    }

    #[test]
    fn query_of_a_url_is_hidden_also_if_it_is_not_valid() {
        for (name, text) in [
            ("STACK_FILE", "HTTPS://host/s.yml?sig=of-query-1"),
            ("STACK_FILE", "['https:/host/s.yml?sig=of-query-2&x=y', 'other.yml']"),
            ("STACK_FILE_0", "host/s.yml?v=1&sig=of-query-3#L1"),
            ("OPENFAAS_URL", "https://gw/?token=of-query-4, x"),
        ] {
            hide(&Environment::new([(name.into(), text.into())]));
            let shown = redact::redact(text).into_owned();
            assert!(shown.contains("?***") && !shown.contains("of-query"), "{shown}");
        }
    }

    #[test]
    fn credentials_of_a_header_are_hidden_without_what_is_before_them() {
        for list in ["HEADERS", "GATEWAY_HEADERS"] {
            let text = format!("['X-Auth: Bearer of-{list}-1', 'Cookie: theme=dark; session-token=of-{list}-2']");
            hide(&Environment::new([(list.into(), text.into())]));
            let shown = redact::redact(&format!("of-{list}-1 of-{list}-2 theme dark")).into_owned();
            assert_eq!(shown, "*** *** theme dark", "{list}");
        }
    }

    #[test]
    fn item_without_the_separator_of_its_list_is_hidden_whole() {
        for (list, item) in [
            ("SECRET_VALUES", "of-values:without-name"),
            ("GATEWAY_HEADERS", "b2YtZ2F0ZXdheQ=="),
            ("HEADERS", "b2YtaGVhZGVycw="),
        ] {
            hide(&Environment::new([(list.into(), format!("['{item}']").into())]));
            assert_eq!(redact::redact(&format!("`{item}`")), "`***`", "{list}");
        }
    }

    #[test]
    fn variable_holds_a_secret_by_its_name_or_by_the_password_in_its_url() {
        let set = |name: &str, value: &str| Environment::new([(name.into(), value.into())]);
        for (name, value, expected) in [
            ("SIGN_KEY", "", true),
            ("PIPELINES_JWT_TOKEN", "x", true),
            ("HEADERS", "Accept: text/plain", true),
            ("HEADERS_0", "Accept: text/plain", true),
            ("HEADERS_COUNT", "1", false),
            ("HEADERS_TIMEOUT", "1", false),
            ("https_proxy", "http://user:password@proxy:3128", true),
            ("https_proxy", "http://proxy:3128", false),
            ("STACK_FILE", "stacks/prod.yml", false),
            ("STACK_FILE_1", "https://git.example.com/stack.yml?token=abc", true),
            ("OPENFAAS_URL", "https://gw.example.com", false),
            ("TAG", "x", false),
        ] {
            assert_eq!(is_secret(&set(name, value), name), expected, "{name}");
        }
    }
}
