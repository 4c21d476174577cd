//! What to change in the stack file if the provider behind the gateway refused a deployment.

use crate::function::name::DEFAULT_NAMESPACE;
use crate::stack::Function;

/// Words of the provider's text, the field that they are about, and the variable that has priority over it.
const OVERRIDDEN: [(&str, &str, &str); 5] = [
    ("annotation", "annotations", "ANNOTATIONS"),
    ("label", "labels", "LABELS"),
    ("env[", "environment", "ENV_VARS"),
    ("constraint", "constraints", "CONSTRAINTS"),
    ("nodeselector", "constraints", "CONSTRAINTS"),
];

/// Finds the field that the provider's text is about, and its line in the stack file (`file`).
pub(super) fn advice(text: &str, function: &Function, file: &str) -> String {
    let deployment = &function.deployment;
    let (name, image) = (deployment.service.as_str(), deployment.image.as_str());
    // Names that the user chose may contain the words below.
    let is_chosen = |word: &str| {
        let word = word.trim_matches(|end: char| !end.is_alphanumeric());
        word == image || word.split('.').next() == Some(name)
    };
    let said = text;
    let words: Vec<_> = text.split_whitespace().filter(|word| !is_chosen(word)).collect();
    let text = words.join(" ").to_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| text.contains(word));
    let at = |field: &str| format!("`{field}` at {file}:{}", function.line_of(field));
    if says(&["service:"]) {
        format!(
            "a name has lower case letters, digits and `-`, at most 63 of them: rename the function at {file}:{}",
            function.line
        )
    } else if says(&["secret"]) {
        let namespace = deployment.namespace.as_deref().unwrap_or(DEFAULT_NAMESPACE);
        let is_said = |secret: &&String| {
            let word = |word: &str| word.trim_matches(|end: char| !end.is_alphanumeric()) == secret.as_str();
            said.split_whitespace().any(word)
        };
        let secret = deployment.secrets.iter().find(is_said).or(deployment.secrets.first());
        let secret = secret.map_or("NAME", String::as_str);
        format!(
            "have the pipe create it in namespace `{namespace}` from a secured variable, or correct {}\n  \
             SECRET_VALUES: ['{secret}=${}']",
            at("secrets"),
            environment_name(secret)
        )
    } else if says(&["namespace must be"]) {
        "OpenFaaS Community Edition has no other namespace: remove `namespace` from the stack file and `OPENFAAS_NAMESPACE`"
            .to_owned()
    } else if says(&["namespace"]) {
        format!(
            "set `CREATE_NAMESPACE: 'true'` to have it created, or correct {}, which `OPENFAAS_NAMESPACE` overrides",
            at("namespace")
        )
    } else if says(&["image"]) {
        format!("correct {}", at("image"))
    } else if says(&["quantit", "resources"]) {
        let fields = [("limits", deployment.limits.is_some()), ("requests", deployment.requests.is_some())];
        let places: Vec<_> = fields.into_iter().filter(|(_, is_set)| *is_set).map(|(field, _)| at(field)).collect();
        let places = if places.is_empty() { at("limits") } else { places.join(" and ") };
        format!("write memory as `128Mi` and CPU as `100m` in {places}")
    } else if let Some((_, field, variable)) = OVERRIDDEN.iter().find(|(word, ..)| text.contains(word)) {
        format!("correct {}, or `{variable}`", at(field))
    } else {
        format!("the function is at {file}:{}", function.line)
    }
}

/// The name that a variable with the value of a secret may have.
fn environment_name(secret: &str) -> String {
    secret.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::function::api::Deployment;

    #[test]
    fn field_is_told_from_the_provider_and_not_from_what_the_user_chose() {
        let deployment =
            Deployment { service: "label-secrets".into(), image: "a/image:1".into(), ..Default::default() };
        let mut function = Function::default();
        function.deployment = deployment;
        function.line = 7;
        let told = |text: &str| advice(text, &function, "stack.yml");
        let unknown = told("cannot deploy \"label-secrets\" (label-secrets.etl) with a/image:1");
        assert_eq!(unknown, "the function is at stack.yml:7");
        for (text, field) in [
            ("Deployment.apps \"label-secrets\" is invalid: spec.template.annotations: Invalid value", "`annotations`"),
            ("Deployment.apps \"label-secrets\" is invalid: spec.template.labels: Invalid value", "`labels`"),
            ("spec.template.spec.containers[0].env[0].name: Invalid value: \"1\"", "`environment`"),
            ("unable to fetch secrets: secrets \"x\" not found", "`secrets`"),
            ("namespace: x not found or not annotated for use by OpenFaaS", "`namespace`"),
            ("unable to parse image reference: could not parse reference: a/image:1", "`image`"),
            ("failed create Deployment spec: quantities must match the regular expression", "`limits`"),
        ] {
            assert!(told(text).contains(&format!("{field} at stack.yml:7")), "{}", told(text));
        }
    }
}
