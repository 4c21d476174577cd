//! The gateway's address: which texts are one, and which the token may be sent to.

use url::{Host, Url};

use super::lints::{UNREPLACED, is_reference};
use crate::console::log;

const CREDENTIALS: &str = "holds a user name or a password: use `OPENFAAS_USERNAME` and `OPENFAAS_PASSWORD`";

/// Reads a gateway's URL; a base path is kept, a slash at its end is not.
///
/// Gives what is wrong and what to write.
pub fn gateway_address(text: &str, allow_http: bool) -> Result<Url, String> {
    let quoted = log::quote(text);
    let url = Url::parse(text).ok().filter(|url| text.contains("://") && url.has_host());
    let Some(mut url) = url else {
        return Err(match Url::parse(&format!("https://{text}")) {
            _ if is_reference(text) => format!("is `{quoted}` {UNREPLACED}"),
            // Not quoted: nobody knows where in it the password is.
            _ if text.contains('@') => CREDENTIALS.to_owned(),
            Ok(_) if !text.contains("://") => format!("`{quoted}` is not a URL: write `https://{quoted}`"),
            _ if !text.is_ascii() => {
                format!("`{quoted}` is not a URL: write a host's name that is not ASCII in punycode, `xn--…`")
            }
            _ => format!("`{quoted}` is not a URL: write for example `https://gw.example.com`"),
        });
    };
    if !matches!(url.scheme(), "http" | "https") {
        return Err(format!("`{}` is not a scheme of a gateway: write `https://…`", url.scheme()));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(CREDENTIALS.to_owned());
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(format!("`{quoted}` has a query or a fragment: write the gateway's address only"));
    }
    if url.scheme() == "http" && !allow_http && !is_loopback(&url) {
        return Err(format!(
            "`{quoted}` is not encrypted, and the token would travel in the clear: \
             write `https://…`, or set `ALLOW_HTTP: 'true'` where the network between is trusted"
        ));
    }
    let path = url.path().trim_end_matches('/').to_owned();
    url.set_path(&path);
    Ok(url)
}

/// Whether the URL names this machine.
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        // Names below it are asked for elsewhere by some resolvers.
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
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
            assert_eq!(gateway_address(text, false).map(String::from).as_deref(), Ok(url), "{text}");
        }
        assert!(gateway_address("http://gateway.openfaas:8080", true).is_ok());
    }

    #[test]
    fn what_is_no_address_is_refused_with_what_to_write() {
        let refused = |text| gateway_address(text, false).expect_err(text);
        insta::assert_snapshot!(refused("gw.example.com"), @"`gw.example.com` is not a URL: write `https://gw.example.com`");
        insta::assert_snapshot!(refused("gw.example.com:8080"), @"`gw.example.com:8080` is not a URL: write `https://gw.example.com:8080`");
        insta::assert_snapshot!(refused("ftp://gw"), @"`ftp` is not a scheme of a gateway: write `https://…`");
        insta::assert_snapshot!(refused("https://"), @"`https://` is not a URL: write for example `https://gw.example.com`");
        insta::assert_snapshot!(refused("https://gw?x=1"), @"`https://gw?x=1` has a query or a fragment: write the gateway's address only");
        insta::assert_snapshot!(refused("http://gateway.openfaas:8080"), @"`http://gateway.openfaas:8080` is not encrypted, and the token would travel in the clear: write `https://…`, or set `ALLOW_HTTP: 'true'` where the network between is trusted");
        insta::assert_snapshot!(refused("$GW"), @"is `$GW` to the letter: it was not replaced by a value");
        insta::assert_snapshot!(refused("https://bücher.example"), @"`https://bücher.example` is not a URL: write a host's name that is not ASCII in punycode, `xn--…`");
        for text in ["https://admin:pw@gw", "admin:pw@gw", "https://admin:pw@gw:99999", "https://admin:p/w@gw"] {
            insta::allow_duplicates! {
                insta::assert_snapshot!(refused(text), @"holds a user name or a password: use `OPENFAAS_USERNAME` and `OPENFAAS_PASSWORD`");
            }
        }
    }
}
