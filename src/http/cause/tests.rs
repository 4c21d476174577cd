//! Causes that no test can provoke on a machine without a network.

use super::*;

const TIMEOUT: Duration = Duration::from_secs(60);

#[test]
fn name_that_is_none_is_told_from_a_name_service_that_does_not_answer() {
    let lookup = |words: &str| {
        let error = io::Error::other(format!("failed to lookup address information: {words}"));
        Cause::of_io(&error, TIMEOUT).unwrap()
    };
    // The words of glibc's `gai_strerror`.
    assert_eq!(lookup("Name or service not known"), Cause::NoSuchName);
    assert_eq!(lookup("No address associated with hostname"), Cause::NoSuchName);
    let temporary = lookup("Temporary failure in name resolution");
    assert_eq!(temporary, Cause::NameLookup("Temporary failure in name resolution".to_owned()));
    assert!(temporary.may_pass() && !Cause::NoSuchName.may_pass());
}

#[test]
fn address_that_cannot_be_reached_is_told_as_one() {
    for kind in [io::ErrorKind::HostUnreachable, io::ErrorKind::NetworkUnreachable, io::ErrorKind::NetworkDown] {
        assert_eq!(Cause::of_io(&kind.into(), TIMEOUT), Some(Cause::NoRoute), "{kind}");
    }
}

#[test]
fn time_to_connect_is_told_from_time_to_answer() {
    // Takes connections, and says nothing.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    let tls = super::super::tls::config(None, false).unwrap();
    let builder = reqwest::Client::builder().tls_backend_preconfigured(tls).no_proxy();
    let client = builder.connect_timeout(Duration::from_millis(50)).build().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let cause = Cause::of(&runtime.block_on(client.get(url).send()).unwrap_err(), TIMEOUT);
    assert_eq!(cause, Cause::NotConnected(CONNECT_TIMEOUT));
    assert!(cause.may_pass());
}

#[test]
fn names_of_a_certificate_are_bare() {
    assert_eq!(bare_name("DnsName(\"gw.example.com\")"), "gw.example.com");
    assert_eq!(bare_name("IpAddress(10.0.0.1)"), "10.0.0.1");
    assert_eq!(bare_name("gw.example.com"), "gw.example.com");
}
