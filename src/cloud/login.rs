//! Logins for registries: a user and a password, or a token in their place.

use std::sync::Arc;
use std::time::SystemTime;

use base64::Engine as _;

use crate::console::redact::Secret;
use crate::http::ca_cert::BASE64;

/// No real token is shorter.
pub(crate) const SHORTEST_TOKEN: usize = 12;

/// The user under which docker stores an identity token.
pub(crate) const TOKEN_USER: &str = "<token>";

/// A login for a registry, from a variable or from a cloud.
#[derive(Debug)]
pub(crate) struct RegistryLogin {
    /// The base64 of `USERNAME:PASSWORD`.
    pub(crate) basic: Secret,
    /// Docker's identity token: a refresh token (distribution, *OAuth2 Token Authentication*).
    pub(crate) identity_token: Option<Secret>,
    /// `None` if it does not expire by itself.
    pub(crate) expires: Option<SystemTime>,
}

impl RegistryLogin {
    pub(crate) fn password(username: &str, password: &str) -> Arc<Self> {
        Arc::new(Self::new(username, password))
    }

    pub(crate) fn new(username: &str, password: &str) -> Self {
        // Registered: a registry may send them back in any form.
        let both = format!("{username}:{password}");
        let _ = [Secret::new(password.to_owned()), Secret::new(both.clone())];
        Self { basic: Secret::new(BASE64.encode(both)), identity_token: None, expires: None }
    }

    /// Token endpoints that know no identity tokens take it for a password.
    pub(crate) fn identity_token(token: &str) -> Self {
        Self { identity_token: Some(Secret::new(token.to_owned())), ..Self::new(TOKEN_USER, token) }
    }

    /// True if a shell may have taken a part of the user name: Harbor's robots are called `robot$NAME`, those of a project
    /// `robot$PROJECT+NAME`.
    pub(crate) fn lacks_part_of_name(&self) -> bool {
        let decoded = BASE64.decode(self.basic.reveal()).unwrap_or_default();
        decoded.starts_with(b"robot:") || decoded.starts_with(b"robot+")
    }

    /// The `auth` of docker's `config.json`.
    pub(crate) fn docker_auth(&self) -> String {
        match self.identity_token {
            Some(_) => BASE64.encode(format!("{TOKEN_USER}:")),
            None => self.basic.reveal().to_owned(),
        }
    }
}
