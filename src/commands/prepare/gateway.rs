//! Finds the gateway, decides whether it may have the credentials, and prepares the clients for it and for registries.

use std::path::Path;

use url::Url;

use super::stack_file::StackFile;
use super::{Loaded, Preparation};
use crate::config::{self, Config, Credentials, gateway_url};
use crate::console::log::{quote, whole_or_length};
use crate::diagnostic::Diagnostic;
use crate::files::input;
use crate::gateway::{self, Authenticator, Gateway};
use crate::http::service::ServiceClient;
use crate::http::tls::CaCert;
use crate::oidc;

/// The gateway that faas-cli writes into every new stack file. No pipeline has one there.
const PLACEHOLDER: &str = "http://127.0.0.1:8080";
/// Larger files hold more than certificates.
const CA_LIMIT: usize = 1024 * 1024;

impl Preparation<'_> {
    /// The gateway; `None` if something is wrong, which [`Preparation::finish`] returns.
    pub(crate) fn gateway(&mut self, loaded: Option<&Loaded>) -> Option<Gateway> {
        let config = self.config;
        let url = self.address(config.allow_http, loaded);
        if config.tls_no_verify {
            tracing::warn!(
                "`TLS_NO_VERIFY` is set: anyone on the network path can read the token; use `CA_CERT` instead"
            );
        }
        if matches!(config.credentials, Credentials::Password { .. }) {
            tracing::info!("`OPENFAAS_PASSWORD` is set: basic auth is used, not the step's token");
        }
        // `CA_CERT` is checked without an address too, so that all problems are reported at once.
        let ca_cert = self.ca_cert()?;
        let settings = gateway::Settings {
            url: url?,
            ca_cert,
            accept_any_certificate: config.tls_no_verify,
            authenticator: match &config.credentials {
                Credentials::Password { username, password } => {
                    Authenticator::password(username, password, config.id_token.is_ok())
                }
                Credentials::IdToken => Authenticator::id_token(&config.id_token),
            },
            timeout: config.timeout,
            retries: config.retries,
            parallel: config.parallel,
            headers: config.gateway_headers.clone(),
            build: config.build.clone(),
        };
        Some(Gateway::new(settings, self.shutdown))
    }

    /// The client for registries and clouds; `None` if `CA_CERT` is wrong.
    pub(crate) fn registry_client(&mut self) -> Option<ServiceClient> {
        let ca_cert = self.ca_cert()?;
        Some(ServiceClient::new(ca_cert.as_ref(), self.config.parallel, self.shutdown))
    }

    /// The URL of the gateway: `OPENFAAS_URL`, else the one in the stack file.
    pub(super) fn address(&mut self, allow_http: bool, loaded: Option<&Loaded>) -> Option<Url> {
        let config = self.config;
        if let Some(url) = &config.gateway_url {
            return Some(url.clone());
        }
        let files = loaded.map(|loaded| &loaded.files[..]).unwrap_or_default();
        let named =
            files.iter().filter_map(|file| Some((file, file.stack.gateway.as_deref()?.trim().trim_end_matches('/'))));
        let named: Vec<_> = named.filter(|(_, url)| !url.is_empty() && *url != PLACEHOLDER).collect();
        if let [first, others @ ..] = &named[..] {
            return trusted(*first, others, config, allow_http)
                .map_err(|reason| self.problem("OPENFAAS_URL", format!("is not set, and {reason}")))
                .ok();
        }
        // A stack file that could not be read may name it.
        if self.problems.stack.is_empty() {
            let example = "write the gateway's address, for example `https://gw.example.com`";
            self.problem("OPENFAAS_URL", format!("{}; {example}", config::NOT_SET));
        }
        None
    }

    /// The certificates of `CA_CERT`; `None` if it is wrong, which is added to the problems.
    pub(crate) fn ca_cert(&mut self) -> Option<Option<CaCert>> {
        let value = self.config.ca_cert.as_ref();
        let read = value.map(|value| ca_cert(value, self.config.places.clone_dir.as_deref()));
        read.transpose().map_err(|error| self.problem("CA_CERT", error)).ok()
    }
}

fn ca_cert(value: &str, clone_dir: Option<&Path>) -> Result<CaCert, Diagnostic> {
    if CaCert::is_inline(value) {
        return Ok(CaCert::parse(value.as_bytes())?);
    }
    let (path, _) = input::find(value, clone_dir)?;
    let certificates = CaCert::parse(&input::read(&path, CA_LIMIT)?);
    certificates.map_err(|error| Diagnostic::error(format!("`{}` {error}", quote(value))))
}

/// The gateway that only stack files name, if the credentials may be sent to it; else the reason. Unlike `OPENFAAS_URL`, the text
/// of a stack file is not trusted: its host may be the result of a substitution.
fn trusted(
    (file, named): (&StackFile, &str),
    others: &[(&StackFile, &str)],
    config: &Config,
    allow_http: bool,
) -> Result<Url, String> {
    let reason = if let Some((other, _)) = others.iter().find(|(_, other)| *other != named) {
        format!("`{}` and `{}` name different gateways", quote(&file.path), quote(&other.path))
    } else if file.path.starts_with("https://") {
        "a stack file from a URL cannot name the gateway".to_owned()
    } else {
        let url =
            gateway_url(named, allow_http).map_err(|error| format!("`provider.gateway` of the stack file {error}"))?;
        let never_sent = |what: &str| format!("{what} never sent to a gateway that only the stack file names");
        match (&config.credentials, &config.id_token) {
            _ if !config.gateway_headers.is_empty() => never_sent("`GATEWAY_HEADERS` are"),
            (Credentials::Password { .. }, _) => never_sent("`OPENFAAS_PASSWORD` is"),
            (Credentials::IdToken, Err(_)) => {
                "without an ID token the gateway that the stack file names is not used".to_owned()
            }
            (Credentials::IdToken, Ok(token)) => match token.claims() {
                Ok(claims) if oidc::is_meant_for(&claims, &url) => return Ok(url),
                _ => format!(
                    "the step's token is not sent to `{}`, which only the stack file names, and which is no audience of the token",
                    whole_or_length(named)
                ),
            },
        }
    };
    Err(format!("{reason}: set `OPENFAAS_URL` to the gateway's address"))
}
