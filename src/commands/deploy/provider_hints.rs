//! Remedies in the stack file for a deployment that the provider behind the gateway refused.

use crate::commands::progress::FUNCTION_IS_AT;
use crate::function::DEFAULT_NAMESPACE;
use crate::stack::{Function, Options};

/// Words of the provider's text, and the field that they are about. The first that is found counts.
const FIELDS: [(&str, &str); 5] = [
    ("nodeselector", "constraints"),
    ("constraint", "constraints"),
    ("annotation", "annotations"),
    ("label", "labels"),
    ("env[", "environment"),
];

/// The longest name that Kubernetes accepts.
const LONGEST_NAME: usize = 63;

/// Finds the field that the provider's text is about, and where it was set: in the stack file or by a variable.
pub(super) fn advice(text: &str, function: &Function, options: &Options) -> String {
    let deployment = &function.deployment;
    let (name, image) = (deployment.service.as_str(), deployment.image.as_str());
    // Names that the user chose may contain the words below.
    let bare = |word: &'_ str| word.trim_matches(|end: char| !end.is_alphanumeric()).to_owned();
    let is_chosen = |word: &str| bare(word) == image || bare(word).split('.').next() == Some(name);
    let words: Vec<_> = text.split_whitespace().filter(|word| !is_chosen(word)).collect();
    let own = words.join(" ").to_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| own.contains(word));
    let at = |field: &str| place(field, function, options);
    if says(&["service: ("]) || name.len() > LONGEST_NAME {
        format!(
            "a name has lower case letters, digits and `-`, at most {LONGEST_NAME} of them: rename the function at {}",
            function.location
        )
    } else if says(&["eula allows", "maximum:"]) {
        "this edition of OpenFaaS limits the number of functions and namespaces: remove some that are no longer used, or \
         use an edition without this limit"
            .to_owned()
    } else if says(&["admission webhook", "denied the request"]) {
        format!(
            "a policy of the cluster refuses it, for the reason that it gives: the function is at {}",
            function.location
        )
    } else if says(&["exceeded quota"]) {
        format!("a quota of the namespace is used up: lower {} and {}, or raise it", at("requests"), at("limits"))
    } else if says(&["secret"]) {
        let namespace = deployment.namespace.as_deref().unwrap_or(DEFAULT_NAMESPACE);
        let is_said = |secret: &&String| text.split_whitespace().any(|word| bare(word) == **secret);
        let secret = deployment.secrets.iter().find(is_said).or(deployment.secrets.first());
        let secret = secret.map_or("NAME", String::as_str);
        let upper = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
        let variable: String = secret.chars().map(upper).collect();
        format!(
            "have the pipe create it in namespace `{namespace}` from a secured variable, or correct {}\n  \
             SECRET_VALUES: ['{secret}=${variable}']",
            at("secrets")
        )
    } else if says(&["namespace must be"]) {
        format!("OpenFaaS Community Edition has no other namespace: remove {}", at("namespace"))
    } else if says(&["namespace"]) {
        format!("set `CREATE_NAMESPACE: 'true'` to have it created, or correct {}", at("namespace"))
    } else if says(&["only allows public images"]) {
        format!(
            "Community Edition looks the image up without credentials: it is private, does not exist, or its registry did \
             not respond; see {}",
            at("image")
        )
    } else if says(&["image"]) {
        format!("correct {}", at("image"))
    } else if says(&["must be less than or equal to"]) {
        format!("a request is larger than its limit: lower {}, or raise {}", at("requests"), at("limits"))
    } else if says(&["quantit", "resources"]) {
        let fields = [("limits", deployment.limits.is_some()), ("requests", deployment.requests.is_some())];
        let places: Vec<_> = fields.into_iter().filter(|(_, is_set)| *is_set).map(|(field, _)| at(field)).collect();
        let places = if places.is_empty() { at("limits") } else { places.join(" and ") };
        format!("write memory as `128Mi` and CPU as `100m` in {places}")
    } else if let Some((_, field)) = FIELDS.iter().find(|(word, ..)| own.contains(word)) {
        format!("correct {}", at(field))
    } else {
        format!("{FUNCTION_IS_AT}{}", function.location)
    }
}

/// Where a field was set: its line in the stack file, the variable that adds to it, or both.
fn place(field: &str, function: &Function, options: &Options) -> String {
    let variable = match field {
        // These replace what the file has, or stand in for it.
        "namespace" if options.namespace.is_some() => return "`OPENFAAS_NAMESPACE`".to_owned(),
        "namespace" if options.default_namespace.is_some() && !function.sets(field) => {
            return "`OPENFAAS_NS`".to_owned();
        }
        "secrets" if !options.secrets.is_empty() => Some("SECRETS"),
        "constraints" if !options.constraints.is_empty() => Some("CONSTRAINTS"),
        "annotations" if !options.annotations.is_empty() => Some("ANNOTATIONS"),
        "labels" if !options.labels.is_empty() => Some("LABELS"),
        "environment" if !options.env_vars.is_empty() => Some("ENV_VARS"),
        _ => None,
    };
    let line = format!("`{field}` at {}", function.place_of(field));
    match variable {
        Some(variable) if function.sets(field) => format!("{line}, or `{variable}`"),
        Some(variable) => format!("`{variable}`"),
        None => line,
    }
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
        function.location.file = "stack.yml".into();
        function.location.line = 7;
        let told = |text: &str| advice(text, &function, &Options::default());
        let unknown = told("cannot deploy \"label-secrets\" (label-secrets.etl) with a/image:1");
        assert_eq!(unknown, "the function is at stack.yml:7");
        let denied = told("admission webhook \"x.svc\" denied the request: require-labels: image of secret");
        assert!(denied.starts_with("a policy of the cluster refuses it"), "{denied}");
        for (text, field) in [
            ("Deployment.apps \"label-secrets\" is invalid: spec.template.annotations: Invalid value", "`annotations`"),
            ("Deployment.apps \"label-secrets\" is invalid: spec.template.labels: Invalid value", "`labels`"),
            ("spec.template.spec.containers[0].env[0].name: Invalid value: \"1\"", "`environment`"),
            ("unable to fetch secrets: secrets \"x\" not found", "`secrets`"),
            ("namespace: x not found or not annotated for use by OpenFaaS", "`namespace`"),
            ("unable to parse image reference: could not parse reference: a/image:1", "`image`"),
            ("failed create Deployment spec: quantities must match the regular expression", "`limits`"),
            ("spec.template.spec.nodeSelector: Invalid value: \"a b\": a valid label must be", "`constraints`"),
            ("requests: Invalid value: \"128Mi\": must be less than or equal to memory limit of 64Mi", "`requests`"),
            ("the Community Edition license agreement only allows public images", "`image`"),
            ("forbidden: exceeded quota: fn, requested: limits.memory=1Gi, used: 1Gi, limited: 1Gi", "`limits`"),
        ] {
            assert!(told(text).contains(&format!("{field} at stack.yml:7")), "{}", told(text));
        }
    }

    #[test]
    fn what_a_variable_set_is_not_looked_for_in_the_stack_file() {
        let mut function = Function::default();
        function.deployment = Deployment { service: "f".into(), image: "a/f:1".into(), ..Default::default() };
        function.location.file = "stack.yml".into();
        function.location.line = 3;
        let told = |text: &str, options: Options| advice(text, &function, &options);
        let namespace = || Options { namespace: Some("etl".into()), ..Options::default() };
        assert_eq!(
            told("namespace must be: openfaas-fn", namespace()),
            "OpenFaaS Community Edition has no other namespace: remove `OPENFAAS_NAMESPACE`"
        );
        assert!(told("namespace not valid", namespace()).ends_with("or correct `OPENFAAS_NAMESPACE`"));
        let default = Options { default_namespace: Some("etl".into()), ..Options::default() };
        assert!(told("namespace not valid", default).ends_with("or correct `OPENFAAS_NS`"));
        let labels = Options { labels: vec![("a".into(), "b".into())], ..Options::default() };
        assert_eq!(told("spec.template.labels: Invalid value", labels), "correct `LABELS`");
        let secrets = Options { secrets: vec!["x".into()], ..Options::default() };
        assert!(told("unable to find secret: x", secrets).contains("or correct `SECRETS`\n"));
    }

    #[test]
    fn limits_of_an_edition_are_not_about_a_namespace() {
        let function = Function::default();
        for text in [
            "the OpenFaaS CE EULA allows 1/2 namespace(s), visit https://openfaas.com/pricing to upgrade",
            "unable to create function, maximum: 15, visit https://openfaas.com/pricing to upgrade",
        ] {
            let told = advice(text, &function, &Options::default());
            assert!(told.contains("this edition of OpenFaaS limits the number of functions and namespaces"), "{told}");
        }
    }
}
