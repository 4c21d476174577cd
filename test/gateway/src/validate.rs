//! The validation of deployments in a Kubernetes provider, with its error messages.

use std::collections::BTreeMap;

use serde::Deserialize;

/// The part of `types.FunctionDeployment` (faas-provider) that the gateway uses.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Deployment {
    pub(crate) service: String,
    pub(crate) image: String,
    pub(crate) namespace: String,
    pub(crate) env_process: String,
    pub(crate) env_vars: BTreeMap<String, String>,
    pub(crate) constraints: Vec<String>,
    pub(crate) secrets: Vec<String>,
    pub(crate) labels: Option<BTreeMap<String, String>>,
    pub(crate) annotations: Option<BTreeMap<String, String>>,
    pub(crate) limits: Option<Resources>,
    pub(crate) requests: Option<Resources>,
    pub(crate) read_only_root_filesystem: bool,
}

/// Memory and CPU as Kubernetes quantities.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(crate) struct Resources {
    pub(crate) memory: String,
    pub(crate) cpu: String,
}

impl Deployment {
    /// Validates what the provider validates first.
    ///
    /// # Errors
    ///
    /// The error message.
    pub(crate) fn validate(&self) -> Result<(), String> {
        if self.service.is_empty() {
            return Err("validation failed: service: is required".to_owned());
        }
        if !is_dns_label(&self.service) {
            return Err(format!(
                "validation failed: service: ({}) is invalid, must be a valid DNS entry",
                self.service
            ));
        }
        if self.image.is_empty() {
            return Err("validation failed: image: is required".to_owned());
        }
        Ok(())
    }

    /// Validates memory and CPU.
    ///
    /// # Errors
    ///
    /// The error message.
    pub(crate) fn quantities(&self) -> Result<(), String> {
        let resources = [&self.limits, &self.requests].into_iter().flatten();
        let mut quantities = resources.flat_map(|resources| [&resources.memory, &resources.cpu]);
        if quantities.any(|quantity| !quantity.is_empty() && quantity_value(quantity).is_none()) {
            return Err(format!("failed create Deployment spec: {QUANTITY_RULE}"));
        }
        Ok(())
    }

    /// Validates what the API server validates.
    ///
    /// # Errors
    ///
    /// The error message.
    pub(crate) fn admit(&self) -> Result<(), String> {
        if !is_image(&self.image) {
            return Err(format!("unable to parse image reference: could not parse reference: {}", self.image));
        }
        let invalid = |field: &str, value: &str, rule: &str| {
            Err(format!("Deployment.apps \"{}\" is invalid: {field}: Invalid value: \"{value}\": {rule}", self.service))
        };
        for (key, value) in self.labels.iter().flatten() {
            if !is_qualified_name(key) {
                return invalid("spec.template.labels", key, NAME_RULE);
            }
            if !value.is_empty() && !is_label_name(value) {
                return invalid("spec.template.labels", value, VALUE_RULE);
            }
        }
        // Kubernetes converts annotation keys to lower case first.
        if let Some((key, _)) =
            self.annotations.iter().flatten().find(|(key, _)| !is_qualified_name(&key.to_lowercase()))
        {
            return invalid("spec.template.annotations", key, NAME_RULE);
        }
        if let Some((key, _)) = self.env_vars.iter().find(|(key, _)| !is_env_name(key)) {
            return invalid("spec.template.spec.containers[0].env[0].name", key, ENV_RULE);
        }
        if let (Some(limits), Some(requests)) = (&self.limits, &self.requests) {
            for (name, limit, request) in
                [("memory", &limits.memory, &requests.memory), ("cpu", &limits.cpu, &requests.cpu)]
            {
                if let (Some(most), Some(least)) = (quantity_value(limit), quantity_value(request))
                    && least > most
                {
                    let rule = format!("must be less than or equal to {name} limit of {limit}");
                    return invalid("spec.template.spec.containers[0].resources.requests", request, &rule);
                }
            }
        }
        Ok(())
    }
}

const QUANTITY_RULE: &str =
    "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";
const NAME_RULE: &str = "name part must consist of alphanumeric characters, '-', '_' or '.', \
                         and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or \
                         '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const VALUE_RULE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', \
                          and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or \
                          '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
const ENV_RULE: &str =
    "a valid environment variable name must consist only of printable ASCII characters other than '='";

/// An RFC 1123 label, as required for names of functions and namespaces.
pub(crate) fn is_dns_label(name: &str) -> bool {
    let inside = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
    name.len() <= 63 && name.bytes().all(inside) && !name.is_empty() && !name.starts_with('-') && !name.ends_with('-')
}

/// `[HOST[:PORT]/]PATH[:TAG][@DIGEST]` in the grammar of the distribution project.
fn is_image(image: &str) -> bool {
    let (name, digest) = image.split_once('@').map_or((image, None), |(name, digest)| (name, Some(digest)));
    let digest_is_fine = digest.is_none_or(|digest| {
        digest.strip_prefix("sha256:").is_some_and(|hex| hex.len() == 64 && hex.bytes().all(|c| c.is_ascii_hexdigit()))
    });
    let slash = name.rfind('/').map_or(0, |at| at + 1);
    let (path, tag) = match name[slash..].split_once(':') {
        Some((last, tag)) => (format!("{}{last}", &name[..slash]), Some(tag)),
        None => (name.to_owned(), None),
    };
    let tag_is_fine = tag.is_none_or(|tag| {
        let inside = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'_' | b'.' | b'-');
        !tag.is_empty() && tag.len() <= 128 && tag.bytes().all(inside) && !tag.starts_with(['.', '-'])
    });
    let mut parts: Vec<&str> = path.split('/').collect();
    if parts.len() > 1 && (parts[0].contains(['.', ':']) || parts[0] == "localhost") {
        let host = parts.remove(0);
        if host.is_empty() || !host.bytes().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'.' | b':' | b'-')) {
            return false;
        }
    }
    let part_is_fine = |part: &&str| {
        let inside = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, b'.' | b'_' | b'-');
        let ends = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        part.bytes().all(inside) && part.starts_with(ends) && part.ends_with(ends)
    };
    digest_is_fine && tag_is_fine && parts.iter().all(part_is_fine)
}

/// The value of a Kubernetes quantity: `128Mi`, `0.5`, `100m`, `1e3`. `None` if it is invalid.
fn quantity_value(quantity: &str) -> Option<f64> {
    const SUFFIXES: [(&str, f64); 16] = [
        ("", 1.0),
        ("n", 1e-9),
        ("u", 1e-6),
        ("m", 1e-3),
        ("k", 1e3),
        ("M", 1e6),
        ("G", 1e9),
        ("T", 1e12),
        ("P", 1e15),
        ("E", 1e18),
        ("Ki", 1024.0),
        ("Mi", 1_048_576.0),
        ("Gi", 1_073_741_824.0),
        ("Ti", 1_099_511_627_776.0),
        ("Pi", 1_125_899_906_842_624.0),
        ("Ei", 1_152_921_504_606_846_976.0),
    ];
    let unsigned = quantity.strip_prefix(['+', '-']).unwrap_or(quantity);
    let end = unsigned.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(unsigned.len());
    let (number, suffix) = unsigned.split_at(end);
    let exponent = suffix.strip_prefix(['e', 'E']).and_then(|exponent| exponent.parse().ok());
    let factor = SUFFIXES.iter().find(|(name, _)| *name == suffix).map(|(_, factor)| *factor);
    let value = number.parse::<f64>().ok()? * factor.or(exponent.map(|exponent: i32| 10f64.powi(exponent)))?;
    Some(if quantity.starts_with('-') { -value } else { value })
}

/// The key of a label: `NAME`, or `PREFIX/NAME` with a DNS subdomain as prefix.
fn is_qualified_name(key: &str) -> bool {
    match key.split_once('/') {
        Some((prefix, name)) => prefix.len() <= 253 && prefix.split('.').all(is_dns_label) && is_label_name(name),
        None => is_label_name(key),
    }
}

fn is_label_name(name: &str) -> bool {
    let inside = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_' | b'.');
    let ends = |c: char| c.is_ascii_alphanumeric();
    name.len() <= 63 && name.bytes().all(inside) && name.starts_with(ends) && name.ends_with(ends)
}

fn is_env_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|c| matches!(c, b' '..=b'~') && c != b'=')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deployment() -> Deployment {
        Deployment { service: "fn".to_owned(), image: "docker.io/acme/fn:1".to_owned(), ..Deployment::default() }
    }

    #[test]
    fn function_name_is_a_dns_label() {
        for (name, fine) in [
            ("import-csv", true),
            ("a", true),
            ("1", true),
            ("Import", false),
            ("a_b", false),
            ("-a", false),
            ("a-", false),
            ("a.b", false),
            (&"a".repeat(64), false),
        ] {
            assert_eq!(is_dns_label(name), fine, "{name}");
        }
    }

    #[test]
    fn image_is_a_reference() {
        let digest = format!("acme/fn:1@sha256:{}", "0a".repeat(32));
        for (image, fine) in [
            ("fn", true),
            ("acme/fn:latest", true),
            ("registry.example.com:5000/acme/fn:1-abc_d", true),
            ("localhost/fn", true),
            (digest.as_str(), true),
            ("acme/fn@sha256:12", false),
            ("Acme/fn", false),
            ("acme/fn:", false),
            ("acme//fn", false),
            ("acme/fn:a b", false),
            ("${REGISTRY}/fn", false),
        ] {
            assert_eq!(is_image(image), fine, "{image}");
        }
    }

    #[test]
    fn quantity_is_a_number_with_a_suffix() {
        for (quantity, fine) in [
            ("128Mi", true),
            ("100m", true),
            ("0.5", true),
            ("1e3", true),
            ("2Ei", true),
            ("128MB", false),
            ("lots", false),
            ("", false),
            ("1.2.3", false),
        ] {
            assert_eq!(quantity_value(quantity).is_some(), fine, "{quantity}");
        }
    }

    #[test]
    fn label_key_may_have_a_prefix() {
        for (key, fine) in [
            ("com.openfaas.scale.min", true),
            ("example.com/team", true),
            ("team name", false),
            ("/team", false),
            ("a/b/c", false),
            ("Example.com/team", false),
            ("", false),
        ] {
            assert_eq!(is_qualified_name(key), fine, "{key}");
        }
    }

    #[test]
    fn error_names_the_field() {
        let mut bad = deployment();
        bad.limits = Some(Resources { memory: "128MB".to_owned(), cpu: String::new() });
        assert_eq!(
            bad.quantities().unwrap_err(),
            "failed create Deployment spec: quantities must match the regular expression \
             '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
        );
        let mut bad = deployment();
        bad.service = "Import_CSV".to_owned();
        assert_eq!(
            bad.validate().unwrap_err(),
            "validation failed: service: (Import_CSV) is invalid, must be a valid DNS entry"
        );
        assert_eq!(deployment().validate(), Ok(()));
    }
}
