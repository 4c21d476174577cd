//! What is wrong with a server's certificate.

use std::fmt;
use std::net::IpAddr;
use std::time::{Duration, UNIX_EPOCH};

use rustls::CertificateError;
use rustls::pki_types::UnixTime;

use crate::console::log::quote;
use crate::http::tls;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Certificate {
    UnknownIssuer,
    /// A CA's certificate in place of the server's own, as `openssl req -x509` makes.
    SelfSigned,
    /// It is for these names.
    WrongName(Vec<String>),
    /// Since when, if that is known.
    Expired(Option<String>),
    /// Until when, if that is known.
    NotYetValid(Option<String>),
    NotForServers,
    Revoked,
    UnsupportedSignature,
    WrongSignature,
    Unreadable,
    /// It breaks this rule of RFC 5280, or of the library.
    Invalid(String),
}

impl Certificate {
    pub(super) fn of(error: &CertificateError) -> Self {
        use CertificateError as Error;
        match error {
            Error::UnknownIssuer => Self::UnknownIssuer,
            Error::NotValidForName => Self::WrongName(Vec::new()),
            Error::NotValidForNameContext { presented, .. } => {
                Self::WrongName(presented.iter().map(|name| quote(&bare_name(name))).collect())
            }
            Error::Expired => Self::Expired(None),
            Error::ExpiredContext { not_after, .. } => Self::Expired(Some(date(*not_after))),
            Error::NotValidYet => Self::NotYetValid(None),
            Error::NotValidYetContext { not_before, .. } => Self::NotYetValid(Some(date(*not_before))),
            Error::Revoked => Self::Revoked,
            Error::InvalidPurpose | Error::InvalidPurposeContext { .. } => Self::NotForServers,
            Error::BadSignature => Self::WrongSignature,
            Error::UnsupportedSignatureAlgorithmContext { .. }
            | Error::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => Self::UnsupportedSignature,
            Error::BadEncoding => Self::Unreadable,
            error if tls::is_ca_used_as_server(error) => Self::SelfSigned,
            Error::Other(error) => Self::Invalid(words(&error.0.to_string())),
            error => Self::Invalid(words(&format!("{error:?}"))),
        }
    }

    /// What to change, if the server is this one.
    pub(crate) fn hint(&self, host: &str, port: u16) -> String {
        let show = format!("openssl s_client -connect {host}:{port} -servername {host} -showcerts");
        match self {
            Self::UnknownIssuer => {
                "if a private CA issued it, set `CA_CERT` to the CA's certificate; else see whether the \
                                    server sends the intermediate certificates, too"
                    .to_owned()
            }
            Self::SelfSigned => {
                format!("to trust this very certificate, set `CA_CERT` to it; this command shows it: `{show}`")
            }
            Self::WrongName(names) if names.is_empty() => format!(
                "a certificate needs a subject alternative name; with `openssl req -x509`: \
                 `-addext 'subjectAltName=DNS:{host}'`"
            ),
            Self::WrongName(_) => "use a host name that the certificate is for, or issue it for this one".to_owned(),
            Self::Expired(_) => "renew the server's certificate".to_owned(),
            Self::NotYetValid(_) => {
                "check the clock of this machine, and the date from which the certificate is valid".to_owned()
            }
            Self::NotForServers => "issue it for servers: `extendedKeyUsage = serverAuth`".to_owned(),
            Self::UnsupportedSignature => {
                "issue it with an ECDSA P-256 or an RSA key of 2048 bits or more, and SHA-256".to_owned()
            }
            Self::Revoked | Self::WrongSignature | Self::Unreadable | Self::Invalid(_) => {
                format!("issue the certificate anew; this command shows it: `{show}`")
            }
        }
    }
}

impl fmt::Display for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownIssuer => f.write_str("the certificate's issuer is not trusted"),
            Self::SelfSigned => f.write_str("the certificate is self-signed and not trusted"),
            Self::WrongName(names) if names.is_empty() => f.write_str("the certificate is not for any host name"),
            Self::WrongName(names) => {
                write!(f, "the certificate is not for this host name, but for `{}`", names.join("`, `"))
            }
            Self::Expired(None) => f.write_str("the certificate has expired"),
            Self::Expired(Some(date)) => write!(f, "the certificate expired on {date}"),
            Self::NotYetValid(None) => f.write_str("the certificate is not valid yet"),
            Self::NotYetValid(Some(date)) => write!(f, "the certificate is not valid before {date}"),
            Self::NotForServers => f.write_str("the certificate is not for servers"),
            Self::Revoked => f.write_str("the certificate has been revoked"),
            Self::UnsupportedSignature => f.write_str("the certificate's signature algorithm is not supported"),
            Self::WrongSignature => f.write_str("the certificate's signature is wrong"),
            Self::Unreadable => f.write_str("the certificate cannot be read"),
            Self::Invalid(rule) => write!(f, "the certificate is not valid: {rule}"),
        }
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
            Error::Expired,
            Error::ExpiredContext { time: second, not_after: second },
            Error::NotValidYet,
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
        hint: if a private CA issued it, set `CA_CERT` to the CA's certificate; else see whether the server sends the intermediate certificates, too
        the certificate is self-signed and not trusted
        hint: to trust this very certificate, set `CA_CERT` to it; this command shows it: `openssl s_client -connect gw.example.com:443 -servername gw.example.com -showcerts`
        the certificate is not for any host name
        hint: a certificate needs a subject alternative name; with `openssl req -x509`: `-addext 'subjectAltName=DNS:gw.example.com'`
        the certificate has expired
        hint: renew the server's certificate
        the certificate expired on Tue, 14 Nov 2023 22:13:20 GMT
        hint: renew the server's certificate
        the certificate is not valid yet
        hint: check the clock of this machine, and the date from which the certificate is valid
        the certificate is not valid before Tue, 14 Nov 2023 22:13:20 GMT
        hint: check the clock of this machine, and the date from which the certificate is valid
        the certificate is not for servers
        hint: issue it for servers: `extendedKeyUsage = serverAuth`
        the certificate has been revoked
        hint: issue the certificate anew; this command shows it: `openssl s_client -connect gw.example.com:443 -servername gw.example.com -showcerts`
        the certificate's signature is wrong
        hint: issue the certificate anew; this command shows it: `openssl s_client -connect gw.example.com:443 -servername gw.example.com -showcerts`
        the certificate cannot be read
        hint: issue the certificate anew; this command shows it: `openssl s_client -connect gw.example.com:443 -servername gw.example.com -showcerts`
        the certificate is not valid: unhandled critical extension
        hint: issue the certificate anew; this command shows it: `openssl s_client -connect gw.example.com:443 -servername gw.example.com -showcerts`
        the certificate is not valid: path len constraint violated
        hint: issue the certificate anew; this command shows it: `openssl s_client -connect gw.example.com:443 -servername gw.example.com -showcerts`
        the certificate is not valid: unsupported cert version
        hint: issue the certificate anew; this command shows it: `openssl s_client -connect gw.example.com:443 -servername gw.example.com -showcerts`
        ");
    }
}
