//! Which provider answers behind the gateway, and how much of a function it reports.

use std::cell::Cell;
use std::collections::BTreeSet;

use serde::Deserialize;

use super::{ANSWER_LIMIT, Error, Gateway, parse};
use crate::function::api::{Deployment, Status};

/// What runs the functions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Provider {
    /// OpenFaaS for Enterprises: a gateway that exchanges tokens has IAM.
    Enterprise,
    /// faas-netes of the Community Edition.
    CommunityEdition,
    Faasd,
    /// Something else, such as OpenFaaS Standard, or it is not known.
    Other,
}

/// The answer of `GET /system/info`.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Info {
    provider: InfoProvider,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct InfoProvider {
    provider: String,
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

    /// What is not reported, in words.
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
        let call = self.question(self.path(&["system", "info"]), None, None, ANSWER_LIMIT);
        let answer = self.send(&call).await?;
        let info: Info = match answer.status.as_u16() {
            200 => parse(&call, &answer)?,
            _ => return Err(self.refused(&call, &answer)),
        };
        Ok(match info.provider.provider.as_str() {
            "faas-netes-ce" => Provider::CommunityEdition,
            "faasd" | "faasd-ce" => Provider::Faasd,
            _ => Provider::Other,
        })
    }

    /// The provider, asked for once and only where a password lets the pipe in.
    pub(crate) async fn provider(&self) -> Provider {
        if !self.authenticator.is_password() {
            return Provider::Enterprise;
        }
        *self.provider.get_or_try_init(|| self.info()).await.unwrap_or(&Provider::Other)
    }

    /// What the gateway reports of functions. Of a provider that is not known, what some function of these namespaces shows.
    pub(crate) async fn reported(&self, namespaces: &BTreeSet<Option<&str>>) -> Reported {
        match self.provider().await {
            // faasd knows neither constraints nor a read-only root, so that nothing of them is lost.
            Provider::Enterprise | Provider::Faasd => return Reported::ALL,
            Provider::CommunityEdition => return Reported::NONE,
            Provider::Other => {}
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
