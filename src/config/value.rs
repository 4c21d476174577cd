//! The forms of values: booleans, durations, numbers, choices, and the gateway's URL.

use std::ops::RangeInclusive;
use std::time::Duration;

use url::{Host, Url};

use super::variables::Entry;
use super::{BLANK, NOT_SET};
use crate::console::log::whole_or_length;
use crate::http::client::{is_cluster_name, is_local};
use crate::text::{self, variable_name};

impl<'a> Entry<'a> {
    /// The value, else the default; `None` if both are empty.
    pub(super) fn text(&self) -> Option<&'a str> {
        self.value.or(Some(self.variable.default).filter(|default| !default.is_empty()))
    }

    pub(super) fn owned(&self) -> Option<String> {
        self.value.map(str::to_owned)
    }

    pub(super) fn required(&self) -> Option<&'a str> {
        if self.value.is_none() {
            self.refuse(if self.is_blank() { BLANK } else { NOT_SET });
        }
        self.value
    }

    /// `true`, `yes`, `on`, `1` and their opposites, in any case.
    pub(super) fn boolean(&self) -> bool {
        self.parsed(boolean, |shown| format!("`{shown}` is not a boolean: write 'true' or 'false'"))
    }

    pub(super) fn duration(&self) -> Duration {
        let form = |shown: &str| match duration(shown) {
            Some(_) => "must be more than 0".to_owned(),
            None => format!("`{shown}` is not a duration: write for example '90s', '1m30s' or '500ms'"),
        };
        self.parsed(|text| duration(text).filter(|duration| !duration.is_zero()), form)
    }

    pub(super) fn number(&self, bounds: RangeInclusive<u32>) -> u32 {
        let parse = |text: &str| text.parse().ok().filter(|number| bounds.contains(number));
        let (least, most) = (bounds.start(), bounds.end());
        self.parsed(parse, |shown| format!("`{shown}` is not a whole number from {least} to {most}"))
    }

    pub(super) fn choice<T: Copy>(&self, choices: &[(&str, T)]) -> T {
        let parse =
            |text: &str| choices.iter().find(|(word, _)| word.eq_ignore_ascii_case(text)).map(|(_, value)| *value);
        self.parsed(parse, |shown| {
            let words: Vec<_> = choices.iter().map(|(word, _)| *word).collect();
            format!("unallowed value `{shown}`: write one of {}", words.join(", "))
        })
    }

    /// The value parsed; the default if the variable is not set, or if its value is wrong, which becomes a problem.
    fn parsed<T>(&self, parse: impl Fn(&str) -> Option<T>, wrong: impl Fn(&str) -> String) -> T {
        let parsed = self.value.map(&parse);
        if let (Some(value), Some(None)) = (self.value, &parsed) {
            self.refuse(wrong(&whole_or_length(value)));
        }
        parsed.flatten().or_else(|| parse(self.variable.default)).expect("the defaults in the table are valid")
    }

    /// A value with a parser of its own; `None` if it is not set, or wrong.
    pub(super) fn parsed_by<T, E: ToString>(&self, parse: impl Fn(&str) -> Result<T, E>) -> Option<T> {
        self.value.and_then(|text| parse(text).map_err(|error| self.refuse(error)).ok())
    }
}

pub(super) fn boolean(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "1" => Some(true),
        "false" | "no" | "off" | "0" => Some(false),
        _ => None,
    }
}

/// True if a text is a boolean, and nothing else.
pub(super) fn is_switch(value: &str) -> bool {
    ["true", "false"].iter().any(|word| value.trim().eq_ignore_ascii_case(word))
}

/// `500ms`, `90s`, `1m30s`, `2h`; a bare whole number is seconds.
fn duration(text: &str) -> Option<Duration> {
    if let Ok(seconds) = text.parse::<u32>() {
        return Some(Duration::from_secs(seconds.into()));
    }
    let mut rest = text;
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|character: char| !character.is_ascii_digit())?;
        let number: u32 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let (unit, length) = match rest.as_bytes() {
            [b'm', b's', ..] => (Duration::from_millis(1), 2),
            [b's', ..] => (Duration::from_secs(1), 1),
            [b'm', ..] => (Duration::from_secs(60), 1),
            [b'h', ..] => (Duration::from_secs(3600), 1),
            _ => return None,
        };
        total = total.checked_add(unit.checked_mul(number)?)?;
        rest = &rest[length..];
    }
    (!text.is_empty()).then_some(total)
}

/// Paths that people copy along with the gateway's address.
const OWN_PATHS: [&str; 6] = ["/ui", "/system", "/oauth", "/function", "/async-function", "/.well-known"];

/// Reads a gateway's URL; a base path is kept, a slash at its end is not.
pub(crate) fn gateway_url(text: &str, allow_http: bool) -> Result<Url, String> {
    let shown = whole_or_length(text);
    // Without the text: nobody knows where in it the password is.
    const CREDENTIALS: &str = "contains a user name or a password: use `OPENFAAS_USERNAME` and `OPENFAAS_PASSWORD`";
    let Some(mut url) = Url::parse(text).ok().filter(|url| text.contains("://") && url.has_host()) else {
        return Err(match Url::parse(&format!("https://{text}")) {
            _ if variable_name(text).is_some() => not_expanded(text),
            _ if text.contains('@') => CREDENTIALS.to_owned(),
            Ok(_) if !text.contains("://") && !text.starts_with("http") => {
                format!("`{shown}` is not a URL: write `https://{}`", shown.trim_start_matches('/'))
            }
            _ => format!("`{shown}` is not a URL: write for example `https://gw.example.com`"),
        });
    };
    if !matches!(url.scheme(), "http" | "https") {
        return Err(format!("`{}` is not a scheme of a gateway: write `https://…`", whole_or_length(url.scheme())));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(CREDENTIALS.to_owned());
    }
    if !has_valid_host(&url) {
        return Err(format!("`{shown}` has no valid host name: write for example `https://gw.example.com`"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(format!("`{shown}` has a query or a fragment: write the gateway's address only"));
    }
    let path = url.path().trim_end_matches('/').to_owned();
    let is_whole = |(at, own): &(usize, &str)| matches!(path.as_bytes().get(at + own.len()), None | Some(b'/'));
    if let Some((at, _)) = OWN_PATHS.iter().find_map(|own| path.match_indices(own).find(is_whole)) {
        url.set_path(&path[..at]);
        let (own, base) = (whole_or_length(&path[at..]), whole_or_length(url.as_str().trim_end_matches('/')));
        return Err(format!("`{own}` is a path of the gateway, not part of its address: write `{base}`"));
    }
    if url.scheme() == "http" && !allow_http && is_cluster_name(&url) {
        return Err(format!(
            "`{shown}` is an address inside a cluster, which only a runner there reaches (`runs-on: self.hosted`): use the \
             gateway's public `https://` URL, or on such a runner set `ALLOW_HTTP: 'true'`"
        ));
    }
    if url.scheme() == "http" && !allow_http && !is_local(&url) {
        return Err(format!(
            "`{shown}` is not encrypted, and would send the token in the clear: write `https://…`, or set \
             `ALLOW_HTTP: 'true'` if the network to the gateway is trusted"
        ));
    }
    url.set_path(&path);
    Ok(url)
}

/// True if a host is an address, or a name that DNS may have. `https` is one in `https://https://gw.example.com`.
fn has_valid_host(url: &Url) -> bool {
    let is_label = |label: &str| {
        !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    match url.host() {
        Some(Host::Domain(name)) => {
            let name = name.strip_suffix('.').unwrap_or(name);
            !matches!(name, "http" | "https" | "null" | "undefined") && name.split('.').all(is_label)
        }
        host => host.is_some(),
    }
}

/// The problem with `$NAME` in place of the variable's value.
pub(super) fn not_expanded(reference: &str) -> String {
    let reference = reference.trim();
    let name = variable_name(reference).unwrap_or_default();
    format!(
        "contains the text `{reference}`, not the variable's value: define `{name}` as a repository or deployment variable, \
         and write `${name}` without quotes or a backslash"
    )
}

/// The problem with a place that a shell or a template engine should have filled in.
pub(super) fn not_filled_in(placeholder: &str) -> String {
    let is_command = text::command(placeholder).is_some();
    let placeholder = whole_or_length(placeholder);
    if is_command {
        return format!(
            "contains the command `{placeholder}`, which nothing has run: write `export NAME=$(…)` in the step's script, and \
             `$NAME` here"
        );
    }
    format!("contains `{placeholder}`, which nothing has filled in: write the value, or `$NAME` of a variable")
}

/// The problem with `null` in place of a value.
pub(super) fn absent(text: &str) -> String {
    let text = text.trim();
    format!(
        "is `{text}`, which scripts write for a value that is missing: check the command that writes it, or remove it"
    )
}

/// True if an item is the name of a variable that was not expanded: the error about it shows the name.
pub(crate) fn is_unexpanded(value: &str) -> bool {
    variable_name(value).is_some_and(|name| !name.bytes().any(|byte| byte.is_ascii_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_in_all_their_forms() {
        let rows = [
            ("500ms", Some(500)),
            ("90s", Some(90_000)),
            ("1m30s", Some(90_000)),
            ("2h", Some(7_200_000)),
            ("7", Some(7_000)),
            ("1h1m1s1ms", Some(3_661_001)),
            ("", None),
            ("s", None),
            ("5 s", None),
            ("-1s", None),
            ("1.5s", None),
            ("5x", None),
            ("10m5", None),
            ("99999999999999999999s", None),
        ];
        for (text, milliseconds) in rows {
            assert_eq!(duration(text), milliseconds.map(Duration::from_millis), "{text}");
        }
    }

    #[test]
    fn booleans_are_read_in_any_case() {
        for text in ["true", "True", "YES", "on", "1"] {
            assert_eq!(boolean(text), Some(true), "{text}");
        }
        for text in ["false", "No", "OFF", "0"] {
            assert_eq!(boolean(text), Some(false), "{text}");
        }
        assert_eq!(boolean("maybe"), None);
    }

    #[test]
    fn addresses_are_read() {
        for (text, url) in [
            ("https://gw.example.com", "https://gw.example.com/"),
            ("https://gw.example.com/OpenFaaS/", "https://gw.example.com/OpenFaaS"),
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080/"),
            ("http://localhost", "http://localhost/"),
            ("http://[::1]:8080/", "http://[::1]:8080/"),
        ] {
            assert_eq!(gateway_url(text, false).map(String::from), Ok(url.to_owned()), "{text}");
        }
        assert!(gateway_url("http://gateway.openfaas:8080", true).is_ok());
    }

    #[test]
    fn host_name_beyond_ascii_is_encoded() {
        let host = |text| gateway_url(text, false).expect(text).host_str().map(str::to_owned);
        assert_eq!(host("https://bücher.example").as_deref(), Some("xn--bcher-kva.example"));
        // Found by fuzzing: an assertion in an earlier release of `idna_adapter` failed.
        assert_eq!(host("https://BÜCHER.example/a").as_deref(), Some("xn--bcher-kva.example"));
    }

    #[test]
    fn paths_of_the_gateway_are_not_part_of_its_address() {
        let refused = |text| gateway_url(text, false).expect_err(text).to_string();
        insta::assert_snapshot!(refused("https://gw.example.com/ui/"), @"`/ui` is a path of the gateway, not part of its address: write `https://gw.example.com`");
        insta::assert_snapshot!(refused("https://gw.example.com/system/functions"), @"`/system/functions` is a path of the gateway, not part of its address: write `https://gw.example.com`");
        insta::assert_snapshot!(refused("https://gw.example.com/oauth/token"), @"`/oauth/token` is a path of the gateway, not part of its address: write `https://gw.example.com`");
        insta::assert_snapshot!(refused("https://gw.example.com/base/function/f"), @"`/function/f` is a path of the gateway, not part of its address: write `https://gw.example.com/base`");
        for text in
            ["https://gw.example.com/uikit", "https://gw.example.com/my-system", "https://ui.example.com/systems"]
        {
            assert!(gateway_url(text, false).is_ok(), "{text}");
        }
    }

    #[test]
    fn what_is_not_a_url_is_refused_with_what_to_write() {
        let refused = |text| gateway_url(text, false).expect_err(text).to_string();
        insta::assert_snapshot!(refused("gw.example.com"), @"`gw.example.com` is not a URL: write `https://gw.example.com`");
        insta::assert_snapshot!(refused("gw.example.com:8080"), @"`gw.example.com:8080` is not a URL: write `https://gw.example.com:8080`");
        insta::assert_snapshot!(refused("ftp://gw"), @"`ftp` is not a scheme of a gateway: write `https://…`");
        insta::assert_snapshot!(refused("https://"), @"`https://` is not a URL: write for example `https://gw.example.com`");
        insta::assert_snapshot!(refused("https://gw?x=1"), @"`https://gw?x=1` has a query or a fragment: write the gateway's address only");
        insta::assert_snapshot!(refused("http://gw.example.com"), @"`http://gw.example.com` is not encrypted, and would send the token in the clear: write `https://…`, or set `ALLOW_HTTP: 'true'` if the network to the gateway is trusted");
        for text in ["http://gateway.openfaas:8080", "http://gateway:8080", "http://gateway.openfaas.svc.cluster.local"]
        {
            assert!(
                refused(text).contains("is an address inside a cluster, which only a runner there reaches"),
                "{text}"
            );
        }
        for text in [
            "https://https://gw.example.com",
            "https://gw..example.com",
            "https://.",
            "https://null",
            "https://gw.example.com`x`",
            "https://{{HOST}}",
        ] {
            assert!(
                refused(text).ends_with("` has no valid host name: write for example `https://gw.example.com`"),
                "{text}"
            );
        }
        insta::assert_snapshot!(refused("//gw.example.com"), @"`//gw.example.com` is not a URL: write `https://gw.example.com`");
        insta::assert_snapshot!(refused("$GW"), @"contains the text `$GW`, not the variable's value: define `GW` as a repository or deployment variable, and write `$GW` without quotes or a backslash");
        for text in ["https://admin:pw@gw", "admin:pw@gw", "https://admin:pw@gw:99999", "https://admin:p/w@gw"] {
            insta::allow_duplicates! {
                insta::assert_snapshot!(refused(text), @"contains a user name or a password: use `OPENFAAS_USERNAME` and `OPENFAAS_PASSWORD`");
            }
        }
    }
}
