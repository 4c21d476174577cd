//! `VERIFY`: the calls that show whether a deploy works.

use percent_encoding::percent_decode_str;

use super::CallOptions;
use crate::console::log::whole_or_length;
use crate::diagnostic::Diagnostic;
use crate::function::FunctionName;
use crate::function::api::unaddressable;

/// The calls, and how they are made.
#[derive(Debug)]
pub(crate) struct Verify {
    pub(crate) calls: Vec<VerifyCall>,
    pub(crate) options: CallOptions,
}

/// `NAME[.NAMESPACE][/PATH][?QUERY]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct VerifyCall {
    /// As it was written.
    pub(crate) text: String,
    pub(crate) name: String,
    /// If none was written: the stack file's, else `OPENFAAS_NAMESPACE` or `OPENFAAS_NS`.
    pub(crate) namespace: Option<String>,
    /// Empty, or with a slash in front.
    pub(crate) path: String,
    pub(crate) query: Option<String>,
    /// `OPENFAAS_NAMESPACE`, else `OPENFAAS_NS`.
    pub(crate) default_namespace: Option<String>,
}

const FORM: &str = "is not of the form `name`, `name.namespace`, `name/path` or `name/path?query`";

/// The name and the namespace in `name` or `name.namespace`; `form` is what is wrong if it is neither.
pub(super) fn full_name<'a>(text: &'a str, form: &'static str) -> Result<(&'a str, Option<&'a str>), Diagnostic> {
    let (name, namespace) = match text.split_once('.') {
        Some((name, namespace)) => (name, Some(namespace)),
        None => (text, None),
    };
    if name.is_empty() || namespace.is_some_and(|namespace| namespace.is_empty() || namespace.contains('.')) {
        return Err(Diagnostic::error(form));
    }
    match unaddressable(text) {
        Some(character) => {
            Err(Diagnostic::error(format!("`{}` is not allowed in a function name", character.escape_debug())))
        }
        None => Ok((name, namespace)),
    }
}

/// The problem with a function's URL, or with its path, in place of the function's name.
pub(super) fn is_a_url(text: &str) -> Option<Diagnostic> {
    let path = match text.split_once("://") {
        Some((_, rest)) => &rest[rest.find('/')?..],
        None => text,
    };
    let calls = ["/function/", "/async-function/"].map(|mark| path.split_once(mark));
    let (before, call) = calls.into_iter().flatten().next()?;
    let is_url = path.len() < text.len() || before.is_empty();
    is_url.then(|| Diagnostic::error(format!("is a URL or a path: write `{}`", whole_or_length(call))))
}

/// True if some server on the way may take a path for one that goes up: with backslashes for slashes, encoded once or more often,
/// or with parameters behind the dots.
fn leaves(path: &str) -> bool {
    let mut decoded = path.to_owned();
    loop {
        let up = |segment: &str| segment.split(';').next() == Some("..");
        if decoded.split(['/', '\\']).any(up) {
            return true;
        }
        match percent_decode_str(&decoded).decode_utf8_lossy().into_owned() {
            more if more == decoded => return false,
            more => decoded = more,
        }
    }
}

impl VerifyCall {
    pub(super) fn parse(text: &str, default_namespace: Option<String>) -> Result<Self, Diagnostic> {
        let text = text.trim();
        if text.chars().any(|character| character.is_whitespace() || character.is_control()) {
            return Err(Diagnostic::error(
                "the path or query contains a space or a control character: encode it, for example as `%20`",
            ));
        }
        if let Some(error) = is_a_url(text) {
            return Err(error);
        }
        let (rest, query) = match text.split_once('?') {
            Some((rest, query)) => (rest, Some(query.to_owned())),
            None => (text, None),
        };
        let (called, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let (name, namespace) = full_name(called, FORM)?;
        if leaves(path) {
            return Err(Diagnostic::error("the path contains `..`, which would leave the function"));
        }
        if path.contains('\\') {
            return Err(Diagnostic::error(
                "the path contains `\\`, which URLs take for `/`: write `/`, or encode it as `%5C`",
            ));
        }
        Ok(Self {
            text: text.to_owned(),
            name: name.to_owned(),
            namespace: namespace.map(str::to_owned),
            path: path.to_owned(),
            query,
            default_namespace,
        })
    }

    /// The function that is called: of those that are deployed the one of this name, else any other.
    pub(crate) fn function(&self, deployed: &[FunctionName]) -> FunctionName {
        let namespace = match &self.namespace {
            Some(namespace) => Some(namespace.clone()),
            None => match deployed.iter().find(|function| function.name == self.name) {
                Some(function) => function.namespace.clone(),
                None => self.default_namespace.clone(),
            },
        };
        FunctionName { namespace, name: self.name.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<VerifyCall, Diagnostic> {
        VerifyCall::parse(text, Some("dev".to_owned()))
    }

    #[test]
    fn call_has_name_namespace_path_and_query() {
        let call = parse(" import.etl/healthz/live?deep=1&x=a?b ").unwrap();
        assert_eq!((call.name.as_str(), call.namespace.as_deref()), ("import", Some("etl")));
        assert_eq!((call.path.as_str(), call.query.as_deref()), ("/healthz/live", Some("deep=1&x=a?b")));
        let call = parse("import?x").unwrap();
        assert_eq!((call.path.as_str(), call.query.as_deref()), ("", Some("x")));
    }

    #[test]
    fn malformed_calls_are_refused() {
        let refused = |text: &str| parse(text).expect_err(text).message;
        for text in ["", "/healthz", "?x", ".etl", "f.", "f.a.b"] {
            assert_eq!(refused(text), FORM, "{text}");
        }
        assert_eq!(refused("f:1"), "`:` is not allowed in a function name");
        for text in [
            "f/..",
            "f/../system/functions",
            "f/a/%2E%2e/b",
            r"f/a\..\..\..\system\functions",
            "f/..%2fsystem",
            "f/a/..%5C..%5csystem",
            "f/%252e%252e/x",
            "f/.%25252e/x",
            "f/..;a=b/system",
        ] {
            assert_eq!(refused(text), "the path contains `..`, which would leave the function", "{text}");
        }
        assert_eq!(
            refused(r"f/a\b"),
            r"the path contains `\`, which URLs take for `/`: write `/`, or encode it as `%5C`"
        );
        for text in ["f/...", "f/a..b", "f/a/..b/c", "f/%2e", "f/100%", "f/%5Cx", "f/a;b/c"] {
            assert!(parse(text).is_ok(), "{text}");
        }
        assert!(refused("f/a b").contains("a space"));
        for text in ["https://gw.example.com/base/function/resize/healthz?x", "/function/resize/healthz?x"] {
            assert_eq!(refused(text), "is a URL or a path: write `resize/healthz?x`", "{text}");
        }
    }

    #[test]
    fn function_of_the_stack_file_needs_no_namespace() {
        let deployed = [FunctionName::new("import", Some("etl")), FunctionName::new("bare", None::<String>)];
        let function = |text: &str| parse(text).unwrap().function(&deployed).to_string();
        assert_eq!(function("import"), "import.etl");
        assert_eq!(function("bare"), "bare");
        assert_eq!(function("other"), "other.dev");
        assert_eq!(function("import.prod"), "import.prod");
    }
}
