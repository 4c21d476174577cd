//! Problems with a server's certificate.

use std::fmt;
use std::net::IpAddr;
use std::time::{Duration, UNIX_EPOCH};

use rustls::CertificateError;
use rustls::pki_types::UnixTime;

use crate::console::log::quote;
use crate::http::tls;

/// The problem and its remedy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Certificate {
    message: String,
    /// With `HOST` and `PORT` in place of the server's.
    hint: &'static str,
}

/// How many of a certificate's names are shown; a server may have thousands.
const MOST_NAMES: usize = 5;
const NAMELESS: &str = "a certificate needs a subject alternative name; with `openssl req -x509`: \
    `-addext 'subjectAltName=DNS:HOST'`";
const REISSUE: &str = "issue the certificate again; this command shows it: \
    `openssl s_client -connect HOST:PORT -servername HOST -showcerts`";

impl Certificate {
    pub(super) fn of(error: &CertificateError) -> Self {
        use CertificateError as Error;
        let (message, hint) = match error {
            Error::UnknownIssuer => (
                "the certificate's issuer is not trusted".to_owned(),
                "if a private CA issued it, set `CA_CERT` to the CA's certificate; otherwise check that the server sends the \
                 intermediate certificates",
            ),
            error if tls::is_not_issued_by_ca_cert(error) => (
                "the certificate's issuer is not trusted: it is not in `CA_CERT`".to_owned(),
                "set `CA_CERT` to the certificate of the CA that issued the server's, or let the server send the intermediate \
                 certificates; this command shows what it sends: \
                 `openssl s_client -connect HOST:PORT -servername HOST -showcerts`",
            ),
            error if tls::is_ca_used_as_server(error) => (
                "the certificate is self-signed and not trusted".to_owned(),
                "to trust this very certificate, set `CA_CERT` to it; this command shows it: \
                 `openssl s_client -connect HOST:PORT -servername HOST -showcerts`",
            ),
            Error::NotValidForNameContext { presented, .. } if !presented.is_empty() => {
                let names = presented.iter().take(MOST_NAMES).map(|name| format!("`{}`", quote(&bare_name(name))));
                let names = names.collect::<Vec<_>>().join(", ");
                let more = presented.len().saturating_sub(MOST_NAMES);
                let more = if more > 0 { format!(" and {more} more") } else { String::new() };
                (
                    format!("the certificate is not for this host name, but for {names}{more}"),
                    "use a host name that the certificate is for, or issue it for this one",
                )
            }
            Error::NotValidForName | Error::NotValidForNameContext { .. } => {
                ("the certificate is not for any host name".to_owned(), NAMELESS)
            }
            Error::ExpiredContext { not_after, .. } => {
                (format!("the certificate expired on {}", date(*not_after)), "renew the server's certificate")
            }
            Error::NotValidYetContext { not_before, .. } => {
                let hint = "check the clock of this machine, and the date from which the certificate is valid";
                (format!("the certificate is not valid before {}", date(*not_before)), hint)
            }
            Error::InvalidPurpose | Error::InvalidPurposeContext { .. } => (
                "the certificate is not for servers".to_owned(),
                "issue it for servers: `extendedKeyUsage = serverAuth`",
            ),
            Error::UnsupportedSignatureAlgorithmContext { .. }
            | Error::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => (
                "the certificate's signature algorithm is not supported".to_owned(),
                "issue it with an ECDSA P-256 or an RSA key of 2048 bits or more, and SHA-256",
            ),
            Error::Revoked => ("the certificate has been revoked".to_owned(), REISSUE),
            Error::BadSignature => ("the certificate's signature is wrong".to_owned(), REISSUE),
            Error::BadEncoding => ("the certificate cannot be read".to_owned(), REISSUE),
            // A rule of RFC 5280, or of the library.
            Error::Other(error) => (format!("the certificate is not valid: {}", words(&error.0.to_string())), REISSUE),
            error => (format!("the certificate is not valid: {}", words(&format!("{error:?}"))), REISSUE),
        };
        Self { message, hint }
    }

    pub(super) fn hint(&self, host: &str, port: u16) -> String {
        self.hint.replace("PORT", &port.to_string()).replace("HOST", host)
    }
}

impl fmt::Display for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

fn date(time: UnixTime) -> String {
    // Dates that HTTP cannot write are of certificates made by hand.
    let time = UNIX_EPOCH.checked_add(Duration::from_secs(time.as_secs()));
    time.map(httpdate::fmt_http_date).unwrap_or_else(|| "an impossible date".to_owned())
}

/// The words of a library's name for an error: `PathLenConstraintViolated`.
fn words(name: &str) -> String {
    let name = name.split(['(', '{', ' ']).next().unwrap_or(name);
    let mut words = String::new();
    for character in name.chars() {
        if character.is_ascii_uppercase() && !words.is_empty() {
            words.push(' ');
        }
        words.push(character.to_ascii_lowercase());
    }
    quote(&words)
}

/// A certificate's name without the name of its kind: `DnsName("gw.example.com")`.
fn bare_name(name: &str) -> String {
    let inner = name.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')')).unwrap_or(name);
    let inner = inner.trim_matches('"');
    // The library writes `0::1` for `::1`.
    inner.parse::<IpAddr>().map_or_else(|_| inner.to_owned(), |address| address.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_a_certificate_are_bare() {
        assert_eq!(bare_name("DnsName(\"gw.example.com\")"), "gw.example.com");
        assert_eq!(bare_name("IpAddress(10.0.0.1)"), "10.0.0.1");
        assert_eq!(bare_name("IpAddress(0::1)"), "::1");
        assert_eq!(bare_name("gw.example.com"), "gw.example.com");
    }

    #[test]
    fn certificate_with_many_names_is_one_short_line() {
        let names = |count: usize| {
            let expected = rustls::pki_types::ServerName::try_from("gw.example.com").unwrap();
            let presented = (0..count).map(|number| format!("DnsName(\"{number}.example.com\")")).collect();
            Certificate::of(&CertificateError::NotValidForNameContext { expected, presented }).to_string()
        };
        assert!(names(5).ends_with("`4.example.com`"));
        assert!(names(5000).ends_with("`4.example.com` and 4995 more"));
    }

    #[test]
    fn every_certificate_error_is_in_words_and_has_a_hint() {
        use CertificateError as Error;
        let other = |text: &str| {
            let error: Box<dyn std::error::Error + Send + Sync> = text.into();
            Error::Other(rustls::OtherError(error.into()))
        };
        let second = UnixTime::since_unix_epoch(Duration::from_secs(1_700_000_000));
        let errors = [
            Error::UnknownIssuer,
            other("CaUsedAsEndEntity"),
            Error::NotValidForName,
            Error::ExpiredContext { time: second, not_after: second },
            Error::NotValidYetContext { time: second, not_before: second },
            Error::InvalidPurpose,
            Error::Revoked,
            Error::BadSignature,
            Error::BadEncoding,
            Error::UnhandledCriticalExtension,
            other("PathLenConstraintViolated"),
            other("UnsupportedCertVersion"),
        ];
        let told = errors.map(|error| {
            let certificate = Certificate::of(&error);
            format!("{certificate}\nhint: {}", certificate.hint("gw.example.com", 443))
        });
        insta::assert_snapshot!(told.join("\n"), @"
        the certificate's issuer is not trusted
        hint: if a private CA issued it, set `CA_CERT` to the CA's certificate; otherwise check that the server sends the intermediate certificates
        the certificate is self-signed and not trusted
        hint: to trust this very certificate, set `CA_CERT` to it; this command shows it: `openssl s_client -connect gw.example.com:443 -servername gw.example.com -showcerts`
        the certificate is not for any host name
        hint: a certificate needs a subject alternative name; with `openssl req -x509`: `-addext 'subjectAltName=DNS:gw.example.com'`
        the certificate expired on Tue, 14 Nov 2023 22:13:20 GMT
        hint: renew the server's certificate
        the certificate is not valid before Tue, 14 Nov 2023 22:13:20 GMT
        hint: check the clock of this machine, and the date from which the certificate is valid
        the certificate is not for servers
        hint: issue it for servers: `extendedKeyUsage = serverAuth`
        the certificate has been revoked
        hint: issue the certificate again; this command shows it: `openssl s_client -connect gw.example.com:443 -servername gw.example.com -showcerts`
        the certificate's signature is wrong
        hint: issue the certificate again; this command shows it: `openssl s_client -connect gw.example.com:443 -servername gw.example.com -showcerts`
        the certificate cannot be read
        hint: issue the certificate again; this command shows it: `openssl s_client -connect gw.example.com:443 -servername gw.example.com -showcerts`
        the certificate is not valid: unhandled critical extension
        hint: issue the certificate again; this command shows it: `openssl s_client -connect gw.example.com:443 -servername gw.example.com -showcerts`
        the certificate is not valid: path len constraint violated
        hint: issue the certificate again; this command shows it: `openssl s_client -connect gw.example.com:443 -servername gw.example.com -showcerts`
        the certificate is not valid: unsupported cert version
        hint: issue the certificate again; this command shows it: `openssl s_client -connect gw.example.com:443 -servername gw.example.com -showcerts`
        ");
    }
}
