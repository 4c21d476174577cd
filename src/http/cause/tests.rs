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
