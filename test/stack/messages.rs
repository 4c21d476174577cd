//! The messages in the log of a deploy that failed because of its stack file.

use super::*;

/// The log of a run that rejects the stack file.
fn log(pipe: &Pipe) -> String {
    pipe.run().exits(2).log
}

#[test]
fn unset_tag() {
    insta::assert_snapshot!(log(&pipe(HEAD.replace("r/f:1", "example/api:${TAG}"))), @r"
    INFO: openfaas-pipe [VERSION]: deploy
    ERROR: stack.yml:6:12: `TAG` is not set or empty: invalid image name `example/api:`: the tag after `:` is empty
          6 |     image: example/api:${TAG}
            |            ^
      hint: a pipe sees only the variables that are passed to it; add
        variables:
          TAG: $TAG
      and define it as a repository or deployment variable, or give it a default: `${TAG:-default}`
    ✖ 1 problem in the stack file, nothing was sent
    ");
}

#[test]
fn unset_tag_and_registry() {
    insta::assert_snapshot!(log(&pipe(HEAD.replace("r/f:1", "${REGISTRY}/api:${TAG}"))), @r"
    INFO: openfaas-pipe [VERSION]: deploy
    ERROR: stack.yml:6:12: `REGISTRY` and `TAG` are not set or empty: invalid image name `/api:`: the part before the first `/` is empty
          6 |     image: ${REGISTRY}/api:${TAG}
            |            ^^^^^^^^^^^
      hint: a pipe sees only the variables that are passed to it; add
        variables:
          REGISTRY: $REGISTRY
          TAG: $TAG
      and define it as a repository or deployment variable, or give it a default: `${REGISTRY:-default}`
    ✖ 1 problem in the stack file, nothing was sent
    ");
}

#[test]
fn unset_tag_in_quotes() {
    insta::assert_snapshot!(log(&pipe(HEAD.replace("r/f:1", "'example/api:${TAG}'"))), @r"
    INFO: openfaas-pipe [VERSION]: deploy
    ERROR: stack.yml:6:12: `TAG` is not set or empty: invalid image name `example/api:`: the tag after `:` is empty
          6 |     image: 'example/api:${TAG}'
            |            ^
      hint: a pipe sees only the variables that are passed to it; add
        variables:
          TAG: $TAG
      and define it as a repository or deployment variable, or give it a default: `${TAG:-default}`
    ✖ 1 problem in the stack file, nothing was sent
    ");
}

#[test]
fn unset_image() {
    insta::assert_snapshot!(log(&pipe(HEAD.replace("r/f:1", "${IMAGE}"))), @r"
    INFO: openfaas-pipe [VERSION]: deploy
    ERROR: stack.yml:6:10: `IMAGE` is not set or empty: function `f` has no image
          6 |     image: ${IMAGE}
            |          ^
      hint: a pipe sees only the variables that are passed to it; add
        variables:
          IMAGE: $IMAGE
      and define it as a repository or deployment variable, or give it a default: `${IMAGE:-default}`
    ✖ 1 problem in the stack file, nothing was sent
    ");
}

#[test]
fn invalid_substitution() {
    insta::assert_snapshot!(log(&pipe(HEAD.replace("r/f:1", "example/api:${TAG-latest}"))), @r"
    INFO: openfaas-pipe [VERSION]: deploy
    ERROR: stack.yml:6:29: unexpected `-` after `${TAG`: only `}` or an operator may follow the name
          6 |     image: example/api:${TAG-latest}
            |                             ^
      hint: write `${TAG:-default}`: faas-cli does not support bash's form without `:`
    ✖ 1 problem in the stack file, nothing was sent
    ");
}

#[test]
fn wrong_indentation() {
    insta::assert_snapshot!(log(&pipe(environment("      A: one\n     B: two"))), @r"
    INFO: openfaas-pipe [VERSION]: deploy
    ERROR: stack.yml:9:6: wrong indentation: not aligned with the keys above
          9 |      B: two
            |      ^
      hint: align it, and check for quotes that are not closed
    ✖ 1 problem in the stack file, nothing was sent
    ");
}

#[test]
fn duplicate_key() {
    insta::assert_snapshot!(log(&pipe(environment("      A: one\n      A: two"))), @r"
    INFO: openfaas-pipe [VERSION]: deploy
    ERROR: stack.yml:9:7: duplicate key `A`, first on line 8
          9 |       A: two
            |       ^
      hint: keep one of them
    ✖ 1 problem in the stack file, nothing was sent
    ");
}

#[test]
fn missing_image() {
    insta::assert_snapshot!(log(&pipe(HEAD.replace("image: r/f:1", "lang: go"))), @r"
    INFO: openfaas-pipe [VERSION]: deploy
    ERROR: stack.yml:5:3: function `f` has no image
          5 |   f:
            |   ^
      hint: write `image: registry.example.com/name:tag`
    ✖ 1 problem in the stack file, nothing was sent
    ");
}

#[test]
fn missing_environment_file() {
    insta::assert_snapshot!(log(&pipe(function("    environment_file:\n      - prod.yml"))), @r"
    INFO: openfaas-pipe [VERSION]: deploy
    ERROR: stack.yml:8:9: `prod.yml` cannot be read: No such file or directory (os error 2)
          8 |       - prod.yml
            |         ^
      hint: a path is relative to the working directory; commit the file, or pass it as an artifact
    ✖ 1 problem in the stack file, nothing was sent
    ");
}

#[test]
fn wrong_provider() {
    insta::assert_snapshot!(log(&pipe(HEAD.replace("openfaas", "faas"))), @r"
    INFO: openfaas-pipe [VERSION]: deploy
    ERROR: stack.yml:3:9: `provider.name` must be `openfaas`, not `faas`
          3 |   name: faas
            |         ^
      hint: write `name: openfaas`
    ✖ 1 problem in the stack file, nothing was sent
    ");
}

#[test]
fn several_problems_at_once() {
    let text = "version: 2.0\nprovider:\n  name: openfaas\nfunctions:\n  a:\n    image: r/a:1\n    secrets: one\n  b:\n    \
                image: \"r/b:${TAG}\"\n    environment_file: [prod.yml]\n";
    insta::assert_snapshot!(log(&pipe(text).var("TIMEOUT", "soon")), @r#"
    INFO: openfaas-pipe [VERSION]: deploy
    ERROR: stack.yml:1:10: `version` must be `1.0`, not `2.0`
          1 | version: 2.0
            |          ^
      hint: write `version: 1.0`
    ERROR: stack.yml:7:14: `secrets` must be a list, not the text `one`
          7 |     secrets: one
            |              ^
      hint: write `[item]`, or each item on a line of its own after `- `
    ERROR: stack.yml:9:12: `TAG` is not set or empty: invalid image name `r/b:`: the tag after `:` is empty
          9 |     image: "r/b:${TAG}"
            |            ^
      hint: a pipe sees only the variables that are passed to it; add
        variables:
          TAG: $TAG
      and define it as a repository or deployment variable, or give it a default: `${TAG:-default}`
    ERROR: stack.yml:10:24: `prod.yml` cannot be read: No such file or directory (os error 2)
         10 |     environment_file: [prod.yml]
            |                        ^
      hint: a path is relative to the working directory; commit the file, or pass it as an artifact
    ✖ Validation errors:
    TIMEOUT:
    - `soon` is not a duration: write for example '90s', '1m30s' or '500ms'
    "#);
}
