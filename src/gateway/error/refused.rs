//! A response other than success: who sent it, and what to change.

use http::StatusCode;
use url::Url;

use crate::diagnostic::{Explain, Failure};
use crate::function::DEFAULT_NAMESPACE;
use crate::function::FunctionName;
use crate::http::client::SafeUrl;
use crate::http::responder::{Responder, status_name};
use crate::oidc::{IamAction, missing_action};

/// A response other than success, or one that the gateway cannot have sent.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{}", self.message())]
pub(crate) struct Refused {
    pub(in crate::gateway) request: String,
    pub(in crate::gateway) status: StatusCode,
    /// The start of the body, fit for the log; of a web page, which words it is reported in.
    pub(in crate::gateway) text: String,
    pub(in crate::gateway) responder: Responder,
    pub(in crate::gateway) is_transient: bool,
    pub(in crate::gateway) is_exchange: bool,
    /// The action that the Policy has to permit for it.
    pub(in crate::gateway) action: Option<IamAction>,
    pub(in crate::gateway) target: Option<FunctionName>,
    /// The remedy for a refused password; with basic auth, no Policy is involved.
    pub(in crate::gateway) password: Option<&'static str>,
    pub(in crate::gateway) gateway: Url,
}

const NOT_PASSED_ON: &str = "a proxy in front of the gateway did not get a response from it: check whether the gateway \
    runs, or raise `RETRIES`";

/// The remedy if an ingress limits the size of requests; `size` is that of the body, in words.
pub(crate) fn body_limit(size: &str) -> String {
    format!(
        "an ingress in front of the gateway does not accept a body{size}: raise its limit (nginx: \
         `client_max_body_size`, ingress-nginx: annotation `nginx.ingress.kubernetes.io/proxy-body-size`)"
    )
}

impl Explain for Refused {
    fn failure(&self) -> Failure {
        match (self.responder, self.status.as_u16()) {
            (Responder::Cloudflare | Responder::KubernetesApi | Responder::UnroutedIngress, _) => Failure::Unreachable,
            (Responder::WebPage, 200..=299) => Failure::Unreachable,
            (Responder::WebPage, _) if self.is_exchange => Failure::Unreachable,
            (_, 401 | 403) => Failure::Permission,
            _ => Failure::Failed,
        }
    }

    fn hint(&self) -> Option<String> {
        if let Some((action, target)) = self.lacks() {
            return Some(missing_action(action, target));
        }
        match self.responder {
            Responder::Server => self.hint_of_gateway(),
            _ if self.status == StatusCode::PAYLOAD_TOO_LARGE => Some(body_limit(" of this size")),
            Responder::WebPage => Some(self.hint_of_web_page()),
            Responder::Cloudflare => Some(
                "check whether the gateway runs, and what Cloudflare uses as its origin or tunnel; the fault is between \
                 Cloudflare and the gateway"
                    .to_owned(),
            ),
            Responder::KubernetesApi => Some(format!(
                "`{}` is the Kubernetes API, not the OpenFaaS gateway: write the gateway's own address as `OPENFAAS_URL`, \
                 such as that of its ingress",
                SafeUrl(&self.gateway)
            )),
            Responder::UnroutedIngress => Some(format!(
                "an ingress without a route for this host responded at `{}`: check the host name in `OPENFAAS_URL`, and the \
                 gateway's Ingress",
                SafeUrl(&self.gateway)
            )),
        }
    }
}

impl Refused {
    pub(super) fn lacks(&self) -> Option<(IamAction, &FunctionName)> {
        let by_iam = self.status == StatusCode::FORBIDDEN && self.is_from_gateway() && self.password.is_none();
        if by_iam { self.action.zip(self.target.as_ref()) } else { None }
    }

    pub(super) fn is_from_gateway(&self) -> bool {
        self.responder == Responder::Server
    }

    fn message(&self) -> String {
        let Self { request, status, text, responder, .. } = self;
        let status = status_name(*status);
        match (responder, text.as_str()) {
            (Responder::KubernetesApi, _) => format!("{request}: {status}, from the Kubernetes API"),
            (_, "") => format!("{request}: {status}"),
            (Responder::WebPage, page) => format!("{request}: {status}, {page}"),
            (_, text) => format!("{request}: {status}: `{text}`"),
        }
    }

    /// True if something else answered, which will answer the next request too.
    pub(super) fn is_unavailable(&self) -> bool {
        matches!(self.status.as_u16(), 429 | 503) || self.failure() == Failure::Unreachable
    }

    /// True if the function to create exists. Enterprise responds with 409, the others with the words of their platform.
    fn says_exists(&self) -> bool {
        let is_conflict = self.status == StatusCode::CONFLICT || self.text.contains("already exists");
        is_conflict && !self.text.contains("being deleted")
    }

    fn hint_of_web_page(&self) -> String {
        let gateway = SafeUrl(&self.gateway);
        match self.status.as_u16() {
            200..=299 | 401 | 403 => format!(
                "the response at `{gateway}` is a web page, not the gateway's: a proxy or an ingress in front of it requires its own \
                 sign-in, or admits only some addresses; let `/oauth/token` and `/system/` pass there"
            ),
            429 => self.busy().to_owned(),
            500 | 502..=504 => NOT_PASSED_ON.to_owned(),
            _ => format!(
                "the response at `{gateway}` is a web page, not an OpenFaaS gateway's: check `OPENFAAS_URL`, also for a missing base \
                 path"
            ),
        }
    }

    fn busy(&self) -> &'static str {
        // There is one request, so `PARALLEL` changes nothing.
        if self.is_exchange {
            "the gateway or an ingress in front of it limits requests: raise `RETRIES`"
        } else {
            "the gateway is busy: lower `PARALLEL`, or raise `RETRIES`"
        }
    }

    fn hint_of_gateway(&self) -> Option<String> {
        match (self.status.as_u16(), self.action) {
            (401 | 403, _) if let Some(password) = self.password => Some(password.to_owned()),
            (401, Some(_)) => Some(
                "the gateway exchanged the step's token, but does not accept the token that it issued: check whether \
                 several gateways with different keys respond at this URL, and whether their clocks are right"
                    .to_owned(),
            ),
            (413, _) => Some(body_limit(" of this size")),
            (429, _) => Some(self.busy().to_owned()),
            (502..=504, _) => Some(NOT_PASSED_ON.to_owned()),
            (404, Some(IamAction::NamespaceCreate | IamAction::NamespaceGet | IamAction::NamespaceDelete)) => Some(
                "the gateway has no API for namespaces: OpenFaaS for Enterprises and faasd have one; have the namespace \
                 created or deleted by other means, and leave `CREATE_NAMESPACE` and `DELETE_NAMESPACE` out"
                    .to_owned(),
            ),
            (500, Some(IamAction::NamespaceDelete)) if self.text.contains("must be empty") => Some(
                "faasd cannot delete a namespace that ever had a function: leave `DELETE_NAMESPACE` out".to_owned(),
            ),
            (400 | 404, Some(IamAction::SecretCreate | IamAction::SecretUpdate))
                if self.text.is_empty() || self.text.contains("namespace") =>
            {
                let only = "Community Edition has only `openfaas-fn`";
                Some(format!("check that the namespace exists, which `CREATE_NAMESPACE: 'true'` creates; {only}"))
            }
            // The provider's own 404, that a function does not exist, is no error.
            (404, Some(_)) => Some(format!(
                "the path does not exist at `{}`: check `OPENFAAS_URL`, also for a missing base path",
                SafeUrl(&self.gateway)
            )),
            (400, _) if self.text.contains("namespace must be: ") => Some(format!(
                "Community Edition has only the namespace `{DEFAULT_NAMESPACE}`: remove `OPENFAAS_NAMESPACE`, and `namespace` in \
                 the stack file"
            )),
            (400, _) if self.text.contains("namespace not valid") => Some(
                "faasd has no such namespace for functions: set `CREATE_NAMESPACE: 'true'`, or correct the name"
                    .to_owned(),
            ),
            (400 | 409 | 500, Some(IamAction::FunctionCreate)) if self.says_exists() => {
                Some("the function already exists: remove `STRATEGY`, or set it to `update` or `replace`".to_owned())
            }
            _ => None,
        }
    }
}
