//! The gateway's URL: what is accepted as one, and to which the token may be sent.

use url::Url;

use super::lints::not_expanded;
use crate::console::log::whole_or_length;
use crate::http::client::{is_cluster_name, is_local};
use crate::text::variable_name;

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
            Ok(_) if !text.contains("://") => format!("`{shown}` is not a URL: write `https://{shown}`"),
            _ => format!("`{shown}` is not a URL: write for example `https://gw.example.com`"),
        });
    };
    if !matches!(url.scheme(), "http" | "https") {
        return Err(format!("`{}` is not a scheme of a gateway: write `https://…`", whole_or_length(url.scheme())));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(CREDENTIALS.to_owned());
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
        insta::assert_snapshot!(refused("$GW"), @"contains the text `$GW`, not the variable's value: define `GW` as a repository or deployment variable, and write `$GW` without quotes or a backslash");
        for text in ["https://admin:pw@gw", "admin:pw@gw", "https://admin:pw@gw:99999", "https://admin:p/w@gw"] {
            insta::allow_duplicates! {
                insta::assert_snapshot!(refused(text), @"contains a user name or a password: use `OPENFAAS_USERNAME` and `OPENFAAS_PASSWORD`");
            }
        }
    }
}
