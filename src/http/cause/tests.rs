//! Causes that no test can provoke on a machine without a network.

use super::*;

const TIMEOUT: Duration = Duration::from_secs(60);

#[test]
fn unknown_name_is_distinguished_from_a_name_service_that_does_not_answer() {
    let lookup = |words: &str| {
        let error = io::Error::other(format!("failed to lookup address information: {words}"));
        Cause::of_io(&error, TIMEOUT).unwrap()
    };
    // The words of glibc's `gai_strerror`.
    assert_eq!(lookup("Name or service not known"), Cause::UnknownName);
    assert_eq!(lookup("No address associated with hostname"), Cause::UnknownName);
    let temporary = lookup("Temporary failure in name resolution");
    assert_eq!(temporary, Cause::NameLookup("Temporary failure in name resolution".to_owned()));
    assert!(temporary.is_transient() && !Cause::UnknownName.is_transient());
}

#[test]
fn alert_for_a_missing_client_certificate_is_distinguished_from_others() {
    let alert = |alert| Cause::of_tls(&rustls::Error::AlertReceived(alert));
    assert_eq!(alert(AlertDescription::CertificateRequired), Cause::ClientCertificate);
    assert_eq!(
        alert(AlertDescription::ProtocolVersion).to_string(),
        "TLS handshake failed: the server sent the alert `ProtocolVersion`"
    );
}

#[test]
fn unreachable_address_is_recognised() {
    for kind in [io::ErrorKind::HostUnreachable, io::ErrorKind::NetworkUnreachable, io::ErrorKind::NetworkDown] {
        assert_eq!(Cause::of_io(&kind.into(), TIMEOUT), Some(Cause::NoRoute), "{kind}");
    }
}

#[test]
fn connect_timeout_is_distinguished_from_the_request_timeout() {
    // Takes connections, and says nothing.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    let builder = super::super::client::verifying(None, TIMEOUT).no_proxy();
    let client = builder.connect_timeout(Duration::from_millis(50)).build().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let cause = Cause::of(&runtime.block_on(async { client.get(url).send().await }).unwrap_err(), TIMEOUT);
    assert_eq!(cause, Cause::ConnectTimedOut(connect_timeout(TIMEOUT)));
    assert!(cause.is_transient());
}

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
        Certificate::of(&CertificateError::NotValidForNameContext { expected, presented }).message
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
        format!("{}\nhint: {}", certificate.message, certificate.hint("gw.example.com", 443))
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

#[test]
fn name_that_a_certificate_needs_is_of_the_hosts_kind() {
    let certificate = Certificate::of(&CertificateError::NotValidForName);
    for (host, name) in [
        ("gw.example.com", "'subjectAltName=DNS:gw.example.com'"),
        ("127.0.0.1", "'subjectAltName=IP:127.0.0.1'"),
        ("[::1]", "'subjectAltName=IP:::1'"),
    ] {
        assert!(certificate.hint(host, 443).contains(name), "{}", certificate.hint(host, 443));
    }
}

#[test]
fn connection_whose_pings_are_not_answered_is_lost() {
    // Takes a connection, and never says anything.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let brief = Duration::from_millis(20);
    let builder = super::super::client::verifying(None, TIMEOUT).no_proxy().http2_prior_knowledge();
    let client = builder.http2_keep_alive_interval(brief).http2_keep_alive_timeout(brief).build().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let error = runtime.block_on(async { client.get(url).send().await }).unwrap_err();
    let cause = Cause::of(&error, TIMEOUT);
    assert_eq!(cause, Cause::Lost, "{error:?}");
    assert!(cause.is_transient() && !error.is_connect());
}
