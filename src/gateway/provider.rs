//! Which provider answers behind the gateway, and how much of a function it reports.

use std::cell::Cell;
use std::collections::BTreeSet;

use http::StatusCode;
use serde_json::Value;

use super::{Error, Gateway, RESPONSE_LIMIT, parse};
use crate::function::api::{Deployment, Status};

/// The provider behind a gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Provider {
    /// OpenFaaS for Enterprises: a gateway that exchanges tokens has IAM.
    Enterprise,
    /// faas-netes of the Community Edition.
    CommunityEdition,
    Faasd,
    /// Something else, such as OpenFaaS Standard.
    Other,
    /// The gateway did not say.
    Unknown,
}

impl Provider {
    /// True if an update that fails may have removed the function: faasd removes it before it creates its new version.
    pub(crate) fn may_remove(self) -> bool {
        matches!(self, Self::Faasd | Self::Unknown)
    }
}

/// Which fields of a function the gateway reports; all others always are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reported {
    pub(crate) environment: bool,
    pub(crate) constraints: bool,
    pub(crate) read_only_root: bool,
}

impl Reported {
    pub(crate) const ALL: Self = Self { environment: true, constraints: true, read_only_root: true };
    const NONE: Self = Self { environment: false, constraints: false, read_only_root: false };

    pub(crate) fn is_complete(self) -> bool {
        self == Self::ALL
    }

    /// The fields that are not reported, in words.
    pub(crate) fn missing(self) -> String {
        let fields = [
            (self.environment, "environment variables"),
            (self.constraints, "constraints"),
            (self.read_only_root, "read-only root filesystem"),
        ];
        let missing: Vec<_> = fields.iter().filter(|(is_reported, _)| !is_reported).map(|(_, name)| *name).collect();
        missing.join(", ")
    }

    /// A deployment without what is not reported.
    pub(crate) fn part_of(self, deployment: &Deployment) -> Deployment {
        let mut part = deployment.clone();
        if !self.environment {
            part.env_vars.clear();
        }
        if !self.constraints {
            part.constraints.clear();
        }
        part.read_only_root_filesystem &= self.read_only_root;
        part
    }

    /// With the fields that this status shows.
    fn seen_in(self, status: &Status) -> Self {
        Self {
            environment: self.environment || !status.env_vars.is_empty(),
            constraints: self.constraints || !status.constraints.is_empty(),
            read_only_root: self.read_only_root || status.read_only_root_filesystem,
        }
    }
}

impl Gateway {
    /// `GET /system/info`, also the cheapest way to see whether a password is accepted.
    pub(crate) async fn info(&self) -> Result<Provider, Error> {
        let call = self.question(self.path(&["system", "info"]), None, None, RESPONSE_LIMIT);
        let response = self.send(&call).await?;
        if response.status != StatusCode::OK {
            return Err(self.refused(&call, &response));
        }
        let info: Value = parse(&call, &response)?;
        Ok(match info.pointer("/provider/provider").and_then(Value::as_str) {
            Some("faas-netes-ce") => Provider::CommunityEdition,
            Some("faasd" | "faasd-ce") => Provider::Faasd,
            _ => Provider::Other,
        })
    }

    /// The provider, requested once, and only with a password: a gateway that exchanges tokens is Enterprise.
    pub(crate) async fn provider(&self) -> Provider {
        if !self.settings.authenticator.is_password() {
            return Provider::Enterprise;
        }
        *self.provider.get_or_try_init(|| self.info()).await.unwrap_or(&Provider::Unknown)
    }

    /// The fields that the gateway reports. Of an unknown provider, those that some function of these namespaces shows.
    pub(crate) async fn reported(&self, namespaces: &BTreeSet<Option<&str>>) -> Reported {
        match self.provider().await {
            // faasd knows neither constraints nor a read-only root, so that nothing of them is lost.
            Provider::Enterprise | Provider::Faasd => return Reported::ALL,
            Provider::CommunityEdition => return Reported::NONE,
            Provider::Other | Provider::Unknown => {}
        }
        let seen = Cell::new(Reported::NONE);
        for namespace in namespaces {
            let look = |status: &Status| {
                seen.set(seen.get().seen_in(status));
                false
            };
            // A listing that fails shows nothing.
            let _ = self.list(*namespace, look).await;
        }
        seen.get()
    }
}
