//! The gateway's URL: what is accepted as one, and to which the token may be sent.

use url::Url;

use super::lints::not_expanded;
use crate::console::log::whole_or_length;
use crate::diagnostic::Diagnostic;
use crate::http::client::{is_cluster_name, is_local};
use crate::text::variable_name;

/// Reads a gateway's URL; a base path is kept, a slash at its end is not.
pub(crate) fn gateway_url(text: &str, allow_http: bool) -> Result<Url, Diagnostic> {
    let shown = whole_or_length(text);
    let wrong = |message: String| Err(Diagnostic::error(message));
    // Without the text: nobody knows where in it the password is.
    const CREDENTIALS: &str = "contains a user name or a password: use `OPENFAAS_USERNAME` and `OPENFAAS_PASSWORD`";
    let Some(mut url) = Url::parse(text).ok().filter(|url| text.contains("://") && url.has_host()) else {
        return wrong(match Url::parse(&format!("https://{text}")) {
            _ if variable_name(text).is_some() => not_expanded(text),
            _ if text.contains('@') => CREDENTIALS.to_owned(),
            Ok(_) if !text.contains("://") => format!("`{shown}` is not a URL: write `https://{shown}`"),
            _ => format!("`{shown}` is not a URL: write for example `https://gw.example.com`"),
        });
    };
    if !matches!(url.scheme(), "http" | "https") {
        return wrong(format!("`{}` is not a scheme of a gateway: write `https://…`", whole_or_length(url.scheme())));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return wrong(CREDENTIALS.to_owned());
    }
    if url.query().is_some() || url.fragment().is_some() {
        return wrong(format!("`{shown}` has a query or a fragment: write the gateway's address only"));
    }
    if let Some((own, what, base)) = api_path(&url) {
        return wrong(format!("`{own}` is {what}: write `{base}`"));
    }
    if url.scheme() == "http" && !allow_http && is_cluster_name(&url) {
        return wrong(format!(
            "`{shown}` is an address inside a cluster, which only a runner there reaches (`runs-on: self.hosted`): use the \
             gateway's public `https://` URL, or on such a runner set `ALLOW_HTTP: 'true'`"
        ));
    }
    if url.scheme() == "http" && !allow_http && !is_local(&url) {
        return wrong(format!(
            "`{shown}` is not encrypted, and would send the token in the clear: write `https://…`, or set \
             `ALLOW_HTTP: 'true'` if the network to the gateway is trusted"
        ));
    }
    let path = url.path().trim_end_matches('/').to_owned();
    url.set_path(&path);
    Ok(url)
}

/// Paths of the gateway, which people copy along with its address.
const API_PATHS: [(&str, &str); 7] = [
    ("/ui", "the gateway's dashboard"),
    ("/system", "the gateway's API"),
    ("/oauth/token", "the gateway's token exchange"),
    ("/oauth", "the gateway's token exchange"),
    ("/function", "where functions are called"),
    ("/async-function", "where functions are called"),
    ("/.well-known", "the gateway's metadata"),
];

/// A path of the gateway in its URL, what it is, and the URL without it.
fn api_path(url: &Url) -> Option<(String, &'static str, String)> {
    let path = url.path().trim_end_matches('/');
    let found = API_PATHS.iter().find_map(|(own, what)| {
        let at =
            path.match_indices(own).find(|(at, _)| matches!(path.as_bytes().get(at + own.len()), None | Some(b'/')))?;
        Some((at.0, *what))
    });
    let (at, what) = found?;
    let mut base = url.clone();
    base.set_path(&path[..at]);
    let base = base.as_str().trim_end_matches('/');
    Some((whole_or_length(&path[at..]), what, whole_or_length(base)))
}

#[cfg(test)]
mod tests {
    use super::*;

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
        insta::assert_snapshot!(refused("https://gw.example.com/ui/"), @"`/ui` is the gateway's dashboard: write `https://gw.example.com`");
        insta::assert_snapshot!(refused("https://gw.example.com/system/functions"), @"`/system/functions` is the gateway's API: write `https://gw.example.com`");
        insta::assert_snapshot!(refused("https://gw.example.com/oauth/token"), @"`/oauth/token` is the gateway's token exchange: write `https://gw.example.com`");
        insta::assert_snapshot!(refused("https://gw.example.com/base/function/f"), @"`/function/f` is where functions are called: write `https://gw.example.com/base`");
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
        insta::assert_snapshot!(refused("$GW"), @"contains the text `$GW`, not the variable's value: define `GW` as a repository or deployment variable, and write `$GW` without quotes or a backslash");
        for text in ["https://admin:pw@gw", "admin:pw@gw", "https://admin:pw@gw:99999", "https://admin:p/w@gw"] {
            insta::allow_duplicates! {
                insta::assert_snapshot!(refused(text), @"contains a user name or a password: use `OPENFAAS_USERNAME` and `OPENFAAS_PASSWORD`");
            }
        }
    }
}
