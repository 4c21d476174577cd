//! Finds the gateway, and prepares the clients for it and for registries.

use url::Url;

use super::trust::trusted;
use super::{Loaded, Preparation};
use crate::config::{self, Credentials, GatewayUrl};
use crate::console::log::quote;
use crate::diagnostic::Diagnostic;
use crate::files::input;
use crate::gateway::{self, Authenticator, Gateway};
use crate::http::ca_cert::CaCert;
use crate::http::service::ServiceClient;

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
        let ca_cert = self.checked_ca_cert()?;
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
        let ca_cert = self.checked_ca_cert()?;
        Some(ServiceClient::new(ca_cert.as_ref(), self.config.parallel, self.shutdown))
    }

    /// The URL of the gateway: `OPENFAAS_URL`, else the one in the stack file.
    pub(super) fn address(&mut self, allow_http: bool, loaded: Option<&Loaded>) -> Option<Url> {
        let config = self.config;
        match &config.gateway_url {
            GatewayUrl::Set(url) => return Some(url.clone()),
            GatewayUrl::Wrong => return None,
            GatewayUrl::Unset => {}
        }
        let files = loaded.map(|loaded| &loaded.files[..]).unwrap_or_default();
        let named = files.iter().filter_map(|file| Some((file, file.gateway.as_deref()?.trim())));
        let named: Vec<_> =
            named.filter(|(_, url)| !url.is_empty() && url.trim_end_matches('/') != PLACEHOLDER).collect();
        if let [(file, url), others @ ..] = &named[..] {
            let trusted =
                match others.iter().find(|(_, other)| other.trim_end_matches('/') != url.trim_end_matches('/')) {
                    None => trusted(url, &file.path, config, allow_http),
                    Some((other, _)) => {
                        let (file, other) = (quote(&file.path), quote(&other.path));
                        let message = format!("is not set, and `{file}` and `{other}` name different gateways");
                        Err(Diagnostic::error(format!("{message}: set `OPENFAAS_URL` to the gateway's address")))
                    }
                };
            return trusted.map_err(|error| self.problem("OPENFAAS_URL", error)).ok();
        }
        // A stack file that could not be read may name it.
        if self.stack.is_empty() {
            let message = config::missing(false);
            let example = "write the gateway's address, for example `https://gw.example.com`";
            self.problem("OPENFAAS_URL", format!("{message}; {example}"));
        }
        None
    }

    /// [`Preparation::ca_cert`]; `None` if it is wrong, which is added to the problems.
    pub(super) fn checked_ca_cert(&mut self) -> Option<Option<CaCert>> {
        self.ca_cert().map_err(|error| self.problem("CA_CERT", error)).ok()
    }

    /// The certificates of `CA_CERT`.
    pub(super) fn ca_cert(&self) -> Result<Option<CaCert>, Diagnostic> {
        let Some(value) = &self.config.ca_cert else { return Ok(None) };
        if CaCert::is_inline(value) {
            return Ok(Some(CaCert::parse(value.as_bytes())?));
        }
        let (path, _) = input::find(value, self.config.places.clone_dir.as_deref())?;
        let certificates = CaCert::parse(&input::read(&path, CA_LIMIT)?);
        certificates.map(Some).map_err(|error| Diagnostic::error(format!("`{}` {error}", quote(value))))
    }
}
