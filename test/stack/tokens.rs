//! The step's own tokens never become part of a function, under any variable name.

use super::*;

const TOKEN: &str = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhY21lIn0.c2lnbmF0dXJl";

fn with_token(stack: String) -> Pipe {
    pipe(stack).var("BITBUCKET_STEP_OIDC_TOKEN", TOKEN).var("MY_TOKEN", TOKEN)
}

#[test]
fn token_under_another_name_is_rejected_with_its_position() {
    let fields = "    fprocess: run ${MY_TOKEN}\n    environment:\n      KEY: Bearer ${MY_TOKEN}\n    \
                  labels: {one: '${MY_TOKEN}'}\n    annotations: {two: '${MY_TOKEN}'}";
    let ran = with_token(function(fields)).run().exits(2).does_not_say(TOKEN);
    insta::assert_snapshot!(ran.log, @r"
    INFO: openfaas-pipe [VERSION]: deploy
    ERROR: stack.yml:7:15: this holds the step's `BITBUCKET_STEP_OIDC_TOKEN`, which is never deployed as part of a function
          7 |     fprocess: run ${MY_TOKEN}
            |               ^
            = `${MY_TOKEN}` is replaced with `***`
      hint: give the function an OpenFaaS secret (`secrets:`) of its own instead
    ERROR: stack.yml:9:12: this holds the step's `BITBUCKET_STEP_OIDC_TOKEN`, which is never deployed as part of a function
          9 |       KEY: Bearer ${MY_TOKEN}
            |            ^
            = `${MY_TOKEN}` is replaced with `***`
      hint: give the function an OpenFaaS secret (`secrets:`) of its own instead
    ERROR: stack.yml:10:19: this holds the step's `BITBUCKET_STEP_OIDC_TOKEN`, which is never deployed as part of a function
         10 |     labels: {one: '${MY_TOKEN}'}
            |                   ^
            = `${MY_TOKEN}` is replaced with `***`
      hint: give the function an OpenFaaS secret (`secrets:`) of its own instead
    ERROR: stack.yml:11:24: this holds the step's `BITBUCKET_STEP_OIDC_TOKEN`, which is never deployed as part of a function
         11 |     annotations: {two: '${MY_TOKEN}'}
            |                        ^
            = `${MY_TOKEN}` is replaced with `***`
      hint: give the function an OpenFaaS secret (`secrets:`) of its own instead
    ✖ 4 problems in the stack file, nothing was sent
    ");
}

#[test]
fn token_in_a_list_variable_is_rejected() {
    let pipe = with_token(HEAD.to_owned())
        .list("ENV_VARS", &["A=1", &format!("KEY={TOKEN}")])
        .list("LABELS", &[&format!("one={TOKEN}")])
        .list("ANNOTATIONS", &[&format!("two=x{TOKEN}x")])
        .list("SECRETS", &["a", TOKEN])
        .list("CONSTRAINTS", &[&format!("zone={TOKEN}")])
        .var("OPENFAAS_NAMESPACE", TOKEN);
    let ran = pipe.run().exits(2).does_not_say(TOKEN);
    insta::assert_snapshot!(ran.log, @r"
    INFO: openfaas-pipe [VERSION]: deploy
    WARNING: `OPENFAAS_NAMESPACE`: Kubernetes does not accept the namespace `***`: it must have at most 63 lower case letters, digits and `-`, and start and end with a letter or digit
    WARNING: `SECRETS`: Kubernetes does not accept the secret name `***`: it must have only lower case letters, digits, `-` and `.`, and start and end with a letter or digit
    ✖ Validation errors:
    ANNOTATIONS:
    - holds the step's `BITBUCKET_STEP_OIDC_TOKEN`, which is never deployed as part of a function; give the function an OpenFaaS secret (`secrets:`) of its own instead
    CONSTRAINTS:
    - holds the step's `BITBUCKET_STEP_OIDC_TOKEN`, which is never deployed as part of a function; give the function an OpenFaaS secret (`secrets:`) of its own instead
    ENV_VARS:
    - holds the step's `BITBUCKET_STEP_OIDC_TOKEN`, which is never deployed as part of a function; give the function an OpenFaaS secret (`secrets:`) of its own instead
    LABELS:
    - holds the step's `BITBUCKET_STEP_OIDC_TOKEN`, which is never deployed as part of a function; give the function an OpenFaaS secret (`secrets:`) of its own instead
    OPENFAAS_NAMESPACE:
    - holds the step's `BITBUCKET_STEP_OIDC_TOKEN`, which is never deployed as part of a function; give the function an OpenFaaS secret (`secrets:`) of its own instead
    SECRETS:
    - holds the step's `BITBUCKET_STEP_OIDC_TOKEN`, which is never deployed as part of a function; give the function an OpenFaaS secret (`secrets:`) of its own instead
    ");
}

#[test]
fn token_in_an_environment_file_is_rejected() {
    let pipe = with_token(function("    environment_file: [one.yml]"))
        .file("one.yml", format!("environment: {{KEY: {TOKEN}}}"));
    pipe.run().exits(2).does_not_say(TOKEN).says("stack.yml:7:24: `KEY` of this file holds the step's");
}

#[test]
fn bitbucket_api_token_is_rejected() {
    let pipe = pipe(environment("      KEY: ${MY_TOKEN}")).var("PIPELINES_JWT_TOKEN", TOKEN).var("MY_TOKEN", TOKEN);
    pipe.run().exits(2).does_not_say(TOKEN).says("stack.yml:8:12: this holds the step's `PIPELINES_JWT_TOKEN`");
}

#[test]
fn short_value_is_not_treated_as_a_token() {
    let pipe = pipe(environment("      KEY: short")).var("PIPELINES_JWT_TOKEN", "short");
    pipe.run().exits(0);
}

#[test]
fn token_is_rejected_by_diff() {
    let pipe = with_token(environment("      KEY: ${MY_TOKEN}")).without("DRY_RUN").var("COMMAND", "diff");
    pipe.run().exits(2).says("stack.yml:8:12: this holds the step's").says("nothing was sent");
}
