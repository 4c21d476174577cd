//! A request without a complete response: the cause, and what to change.

use http::StatusCode;
use url::Url;

use crate::diagnostic::{Diagnostic, Failure};
use crate::http::cause::Cause;
use crate::http::client::SafeUrl;
use crate::http::client::is_cluster_name;

#[derive(Clone, Debug, thiserror::Error)]
#[error("{request} at `{}`: {source}", SafeUrl(gateway))]
pub(crate) struct Transport {
    /// Method and path.
    pub(in crate::gateway) request: String,
    /// The gateway's own URL.
    pub(in crate::gateway) gateway: Url,
    pub(crate) source: Cause,
    /// True if no connection was made, so that nobody can have received the request.
    pub(in crate::gateway) unsent: bool,
}

impl Transport {
    pub(super) fn problem(&self) -> Diagnostic {
        let host = self.gateway.host_str().unwrap_or("HOST");
        let port = self.gateway.port_or_known_default().unwrap_or(443);
        let url = SafeUrl(&self.gateway);
        let is_list = self.request.starts_with("GET ") && self.request.ends_with("/system/functions");
        let hint = match &self.source {
            Cause::Closed if is_list => Some(
                "a gateway lists no functions while its Prometheus is not available: check whether Prometheus runs"
                    .to_owned(),
            ),
            Cause::UnknownName if is_cluster_name(&self.gateway) => Some(format!(
                "`{host}` is a name inside a cluster, which only a runner there can reach (`runs-on: self.hosted`): use that, \
                 or the gateway's public URL"
            )),
            Cause::UnknownName => Some(format!("check the host name `{host}` in `OPENFAAS_URL` (`{url}`)")),
            Cause::ConnectionRefused => Some(format!(
                "nothing listens on port {port} of `{host}`: check `OPENFAAS_URL` (`{url}`), and whether the gateway runs"
            )),
            Cause::NoRoute => Some(format!(
                "a Bitbucket runner in the cloud cannot reach a private address: use the gateway's public one instead of \
                 `{url}`, or a self-hosted runner"
            )),
            // A firewall would have kept the connection from being made.
            Cause::TimedOut(_) => {
                Some("the connection was made, so no firewall is in the way: raise `TIMEOUT`".to_owned())
            }
            Cause::ConnectTimedOut(_) => {
                Some(format!("check whether a firewall admits Bitbucket's addresses to port {port} of `{host}`"))
            }
            Cause::ClientCertificate => Some(format!(
                "the pipe has no client certificate: let `/oauth/token`, `/system/` and `/function/` of `{host}` pass without \
                 one; the step's token authenticates these requests"
            )),
            Cause::NotTls => Some(format!(
                "`OPENFAAS_URL` (`{url}`) begins with `https://`, but the server does not speak TLS: check the port; inside a \
                 cluster write `http://…`, with `ALLOW_HTTP: 'true'`"
            )),
            Cause::SpeaksTls => Some(format!("write `OPENFAAS_URL: '{}'`", with_https(&self.gateway))),
            Cause::NotHttp(_) => Some(format!("check whether the gateway answers at `{url}`")),
            Cause::Body(_) => Some("find out what changes the file during the run".to_owned()),
            cause => cause.hint(host, port),
        };
        let failure = match self.source {
            Cause::Body(_) => Failure::Failed,
            _ => Failure::Unreachable,
        };
        Diagnostic { hint, ..Diagnostic::new(failure, self.to_string()) }
    }
}

/// A gateway's URL with the other scheme. The port stays: it is the one that speaks TLS.
pub(in crate::gateway) fn with_https(gateway: &Url) -> String {
    SafeUrl(gateway).to_string().replacen("http://", "https://", 1)
}

/// The words of servers, in a 400, about the connection that the request came over: in the words of Go's server, nginx and Apache
/// httpd.
pub(in crate::gateway) fn connection_fault(status: StatusCode, body: &[u8]) -> Option<Cause> {
    const FAULTS: [(&str, Cause); 4] = [
        ("HTTP request to an HTTPS server", Cause::SpeaksTls),
        ("plain HTTP request was sent to HTTPS port", Cause::SpeaksTls),
        ("speaking plain HTTP to an SSL", Cause::SpeaksTls),
        ("No required SSL certificate was sent", Cause::ClientCertificate),
    ];
    if status != StatusCode::BAD_REQUEST {
        return None;
    }
    let words = String::from_utf8_lossy(body);
    FAULTS.into_iter().find(|(phrase, _)| words.contains(phrase)).map(|(_, cause)| cause)
}
