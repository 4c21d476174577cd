//! The gateway's URL: what is accepted as one, and to which the token may be sent.

use url::Url;

use super::lints::is_reference;
use crate::console::log::whole_or_length;
use crate::http::client::is_loopback;

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum UrlError {
    #[error("is the text `{}`, not the variable's value", whole_or_length(.0))]
    Unexpanded(String),
    /// Without the URL: nobody knows where in it the password is.
    #[error("contains a user name or a password: use `OPENFAAS_USERNAME` and `OPENFAAS_PASSWORD`")]
    Credentials,
    #[error("`{url}` is not a URL: write `https://{url}`", url = whole_or_length(.0))]
    NoScheme(String),
    #[error("`{}` is not a URL: write for example `https://gw.example.com`", whole_or_length(.0))]
    Syntax(String),
    #[error("`{}` is not a scheme of a gateway: write `https://…`", whole_or_length(.0))]
    Scheme(String),
    #[error("`{}` has a query or a fragment: write the gateway's address only", whole_or_length(.0))]
    Query(String),
    #[error(
        "`{}` is not encrypted, and would send the token in the clear: write `https://…`, or set `ALLOW_HTTP: 'true'` if the \
         network to the gateway is trusted",
        whole_or_length(.0)
    )]
    NotEncrypted(String),
}

/// Reads a gateway's URL; a base path is kept, a slash at its end is not.
pub(crate) fn gateway_url(text: &str, allow_http: bool) -> Result<Url, UrlError> {
    let url = Url::parse(text).ok().filter(|url| text.contains("://") && url.has_host());
    let written = || text.to_owned();
    let Some(mut url) = url else {
        return Err(match Url::parse(&format!("https://{text}")) {
            _ if is_reference(text) => UrlError::Unexpanded(written()),
            _ if text.contains('@') => UrlError::Credentials,
            Ok(_) if !text.contains("://") => UrlError::NoScheme(written()),
            _ => UrlError::Syntax(written()),
        });
    };
    if !matches!(url.scheme(), "http" | "https") {
        return Err(UrlError::Scheme(url.scheme().to_owned()));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(UrlError::Credentials);
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(UrlError::Query(written()));
    }
    if url.scheme() == "http" && !allow_http && !is_loopback(&url) {
        return Err(UrlError::NotEncrypted(written()));
    }
    let path = url.path().trim_end_matches('/').to_owned();
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
            assert_eq!(gateway_url(text, false).map(String::from).as_deref(), Ok(url), "{text}");
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
    fn what_is_not_a_url_is_refused_with_what_to_write() {
        let refused = |text| gateway_url(text, false).expect_err(text).to_string();
        insta::assert_snapshot!(refused("gw.example.com"), @"`gw.example.com` is not a URL: write `https://gw.example.com`");
        insta::assert_snapshot!(refused("gw.example.com:8080"), @"`gw.example.com:8080` is not a URL: write `https://gw.example.com:8080`");
        insta::assert_snapshot!(refused("ftp://gw"), @"`ftp` is not a scheme of a gateway: write `https://…`");
        insta::assert_snapshot!(refused("https://"), @"`https://` is not a URL: write for example `https://gw.example.com`");
        insta::assert_snapshot!(refused("https://gw?x=1"), @"`https://gw?x=1` has a query or a fragment: write the gateway's address only");
        insta::assert_snapshot!(refused("http://gateway.openfaas:8080"), @"`http://gateway.openfaas:8080` is not encrypted, and would send the token in the clear: write `https://…`, or set `ALLOW_HTTP: 'true'` if the network to the gateway is trusted");
        insta::assert_snapshot!(refused("$GW"), @"is the text `$GW`, not the variable's value");
        for text in ["https://admin:pw@gw", "admin:pw@gw", "https://admin:pw@gw:99999", "https://admin:p/w@gw"] {
            insta::allow_duplicates! {
                insta::assert_snapshot!(refused(text), @"contains a user name or a password: use `OPENFAAS_USERNAME` and `OPENFAAS_PASSWORD`");
            }
        }
    }
}
