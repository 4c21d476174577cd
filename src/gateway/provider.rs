//! Which provider answers behind the gateway, and how much of a function it reports.

use std::cell::Cell;
use std::collections::BTreeSet;

use http::{Method, StatusCode};
use serde_json::Value;

use super::send::{ApiCall, Repeat};
use super::{Authenticator, Error, Gateway, parse};
use crate::function::api::{Deployment, Resources, Status};
use crate::function::compare::{Change, changes, compare};

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
    environment: bool,
    constraints: bool,
    read_only_root: bool,
    /// Only the list of faasd has them.
    pub(crate) memory_limits: bool,
    /// As faasd does it: the image's own environment is among the function's, values end at their first `=`, and what faasd does
    /// not support is left out.
    as_faasd: bool,
}

impl Reported {
    const ALL: Self =
        Self { environment: true, constraints: true, read_only_root: true, memory_limits: true, as_faasd: false };
    pub(crate) const NONE: Self =
        Self { environment: false, constraints: false, read_only_root: false, memory_limits: true, as_faasd: false };
    const AS_FAASD: Self = Self { as_faasd: true, ..Self::ALL };

    /// True if a function can be deployed again as it was. faasd supports neither constraints nor a read-only root, so that
    /// nothing of them is lost.
    pub(crate) fn is_complete(self) -> bool {
        self.environment && self.constraints && self.read_only_root && self.memory_limits
    }

    /// The fields that are not reported, in words.
    pub(crate) fn missing(self) -> String {
        let fields = [
            (self.environment, "environment variables"),
            (self.constraints && !self.as_faasd, "constraints"),
            (self.read_only_root && !self.as_faasd, "read-only root filesystem"),
            (!self.as_faasd, "requests"),
            (self.memory_limits, "memory limits"),
            (!self.as_faasd, "CPU limits"),
            (!self.as_faasd, "whether an environment variable was removed"),
        ];
        let missing: Vec<_> = fields.iter().filter(|(is_reported, _)| !is_reported).map(|(_, name)| *name).collect();
        missing.join(", ")
    }

    /// The differences between a function and a deployment, in what is reported.
    pub(crate) fn differences(self, status: &Status, wanted: &Deployment) -> Vec<Change> {
        let (old, new) = self.both(status, wanted);
        compare(&old, &new)
    }

    /// The same without what is no change by itself.
    pub(crate) fn changes(self, status: &Status, wanted: &Deployment) -> Vec<Change> {
        let (old, new) = self.both(status, wanted);
        changes(&old, &new)
    }

    /// The reported part of a function and of a deployment.
    fn both(self, status: &Status, wanted: &Deployment) -> (Deployment, Deployment) {
        let (mut old, mut new) = (status.deployment(), wanted.clone());
        if !self.environment {
            new.env_vars.clear();
        }
        if !self.constraints {
            new.constraints.clear();
        }
        new.read_only_root_filesystem &= self.read_only_root;
        if self.as_faasd {
            old.env_vars.retain(|name, _| new.env_vars.contains_key(name));
            for (name, value) in &mut old.env_vars {
                let wanted = new.env_vars.get(name).filter(|wanted| wanted.split('=').next() == Some(value.as_str()));
                if let Some(wanted) = wanted {
                    value.clone_from(wanted);
                }
            }
            if new.env_process.is_none() {
                old.env_process = None;
            }
            let memory = new.limits.take().and_then(|limits| limits.memory).filter(|_| self.memory_limits);
            new.limits = memory.map(|memory| Resources { memory: Some(memory), cpu: None });
            new = Deployment { constraints: Vec::new(), requests: None, read_only_root_filesystem: false, ..new };
        }
        (old, new)
    }

    /// With the fields that this status shows.
    fn seen_in(self, status: &Status) -> Self {
        Self {
            environment: self.environment || !status.spec.env_vars.is_empty(),
            constraints: self.constraints || !status.spec.constraints.is_empty(),
            read_only_root: self.read_only_root || status.spec.read_only_root_filesystem,
            ..self
        }
    }
}

impl Gateway {
    /// `GET /system/info`, also the cheapest way to see whether a password is accepted.
    pub(crate) async fn info(&self, repeat: Repeat) -> Result<Provider, Error> {
        let call = ApiCall { repeat, whole: true, ..ApiCall::new(Method::GET, self.path(&["system", "info"])) };
        let response = self.send(&call).await?;
        if response.status != StatusCode::OK {
            return Err(self.refused(&call, &response));
        }
        let info: Value = parse(&call, &response)?;
        // Some versions put the provider's own response in the place of the gateway's.
        let name = info.pointer("/provider/provider").or(info.get("provider"));
        Ok(match name.and_then(Value::as_str) {
            Some("faas-netes-ce") => Provider::CommunityEdition,
            Some("faasd" | "faasd-ce") => Provider::Faasd,
            _ => Provider::Other,
        })
    }

    /// The provider, requested once whatever the response is, and only with a password: a gateway that exchanges tokens is
    /// Enterprise.
    pub(crate) async fn provider(&self) -> Provider {
        if !matches!(self.settings.authenticator, Authenticator::Password { .. }) {
            return Provider::Enterprise;
        }
        let info = async || self.info(Repeat::NotAfterTimeout).await.unwrap_or(Provider::Unknown);
        *self.provider.get_or_init(info).await
    }

    /// The fields that the gateway reports. Of an unknown provider, those that some function of these namespaces shows.
    pub(crate) async fn reported(&self, namespaces: &BTreeSet<Option<&str>>) -> Reported {
        match self.provider().await {
            Provider::Enterprise => return Reported::ALL,
            Provider::Faasd => return Reported::AS_FAASD,
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

#[cfg(test)]
mod tests {
    use super::*;

    fn status(json: &str) -> Status {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn what_faasd_adds_cuts_or_does_not_support_is_no_difference() {
        let wanted: Deployment = serde_json::from_str(
            r#"{"service": "f", "image": "acme/f:1", "envVars": {"A": "1", "B": "x=y"}, "labels": {"t": "w"},
                "constraints": ["zone=a"], "limits": {"memory": "64Mi", "cpu": "100m"}, "requests": {"memory": "32Mi"},
                "readOnlyRootFilesystem": true}"#,
        )
        .unwrap();
        let listed = r#"{"name": "f", "image": "docker.io/acme/f:1", "envProcess": "/usr/bin/handler.sh",
            "envVars": {"A": "1", "B": "x", "mode": "streaming", "write_timeout": "20s"}, "labels": {"t": "w"},
            "limits": {"memory": "67108864"}}"#;
        assert_eq!(Reported::AS_FAASD.differences(&status(listed), &wanted), []);
        // A real difference in each field that faasd does report.
        for (old, new, field) in [
            ("f:1", "f:2", "image"),
            (r#""A": "1""#, r#""A": "2""#, "env A"),
            (r#""B": "x""#, r#""B": "z""#, "env B"),
            (r#""t": "w""#, r#""t": "v""#, "label t"),
            ("67108864", "1", "limits memory"),
        ] {
            let changes = Reported::AS_FAASD.differences(&status(&listed.replace(old, new)), &wanted);
            assert_eq!(changes.iter().map(|change| change.field.as_str()).collect::<Vec<_>>(), [field]);
        }
        let with_command = Deployment { env_process: Some("./f".to_owned()), ..wanted };
        assert_eq!(Reported::AS_FAASD.differences(&status(listed), &with_command).len(), 1);
    }

    #[test]
    fn missing_fields_are_named_for_each_provider() {
        assert_eq!(Reported::ALL.missing(), "");
        assert_eq!(Reported::NONE.missing(), "environment variables, constraints, read-only root filesystem");
        let faasd =
            "constraints, read-only root filesystem, requests, CPU limits, whether an environment variable was removed";
        assert_eq!(Reported::AS_FAASD.missing(), faasd);
        assert!(Reported::AS_FAASD.is_complete() && !Reported::NONE.is_complete());
    }
}
