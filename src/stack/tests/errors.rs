use super::*;

#[test]
fn faults_of_all_functions_and_of_the_provider_are_reported_at_once() {
    let text = "version: 2\nprovider:\n  name: faas\nfunctions:\n  a:\n    image: a b\n  b: {}\n  c/d:\n    image: r/c@\n    environment_file: [none.yml]\n";
    insta::assert_snapshot!(refused(text), @r"
    stack.yml:1:10: `version` must be `1.0`, not `2`
        1 | version: 2
          |          ^
    hint: write `version: 1.0`
    stack.yml:3:9: `provider.name` must be `openfaas`, not `faas`
        3 |   name: faas
          |         ^
    hint: write `name: openfaas`
    stack.yml:6:12: invalid image name `a b`: its parts may contain only lower case letters, digits, and `.`, `_`, `-` between them
        6 |     image: a b
          |            ^
    hint: write `image: registry.example.com/name:tag`
    stack.yml:7:3: function `b` has no image
        7 |   b: {}
          |   ^
    hint: write `image: registry.example.com/name:tag`
    stack.yml:8:3: invalid function name `c/d`: it cannot be part of a URL
        8 |   c/d:
          |   ^
    hint: use lower case letters, digits and `-`
    stack.yml:9:12: invalid image name `r/c@`: the digest must be `sha256:` and 64 hexadecimal digits
        9 |     image: r/c@
          |            ^
    hint: write `image: registry.example.com/name:tag`
    stack.yml:10:24: `/nonexistent/none.yml` cannot be read: No such file or directory (os error 2)
       10 |     environment_file: [none.yml]
          |                        ^
    hint: a path is relative to the working directory; commit the file, or pass it as an artifact
    ");
}

#[test]
fn value_with_several_lines_is_one_problem() {
    let run = Case { variables: &[("CERT", "one\ntwo")], ..Case::default() };
    insta::assert_snapshot!(run.all(format!("{HEAD}    environment:\n      A: ${{CERT}}\n      B: c\n")), @r"
    stack.yml:8:10: missing `:` after this key
        8 |       A: ${CERT}
          |          ^^^^^^^
          = `${CERT}` is replaced with `<7 characters>`
    hint: pass a value with line breaks with `ENV_VARS`, or as an OpenFaaS secret; a value of `build_args` is not used by a deploy, and need not be passed
    ");
}

#[test]
fn long_lines_are_cut_around_the_place() {
    let text = format!("{HEAD}    environment: {{A: '{}', B: [x], C: '{}'}}\n", "é".repeat(200), "x".repeat(300));
    insta::assert_snapshot!(refused(text), @r"
    stack.yml:7:229: `B` of `environment` must be a text, not a list
        7 | …ééééééééééééééééééééééééééééééééééééééééééééééééééééééé', B: [x], C: 'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…
          |                                                               ^
    hint: quote a value that begins with `[` or `- `
    ");
}

#[test]
fn what_kubernetes_refuses_is_a_warning_and_what_all_refuse_an_error() {
    let text = "\
provider: {name: openfaas}
functions:
  Upper_Case:
    image: R/Upper:1
    namespace: a.b
    secrets: [Bad_Secret]
    labels:
      -bad: x
      good: 'not good'
    annotations:
      a b: any value
    limits:
      memory: 128MB
      cpu: half
    requests:
      memory: 64m
  1st:
    image: r/i@sha256:00
";
    insta::assert_snapshot!(Case::default().all(text), @r"
    stack.yml:4:12: invalid image name `R/Upper:1`: upper case letters are not allowed
        4 |     image: R/Upper:1
          |            ^
    hint: write `image: registry.example.com/name:tag`
    stack.yml:18:12: invalid image name `r/i@sha256:00`: the digest must be `sha256:` and 64 hexadecimal digits
       18 |     image: r/i@sha256:00
          |            ^
    hint: write `image: registry.example.com/name:tag`
    stack.yml:3:3: Kubernetes does not accept the function name `Upper_Case`: it must have at most 63 lower case letters, digits and `-`, start with a letter, and end with a letter or digit
        3 |   Upper_Case:
          |   ^
    stack.yml:5:16: Kubernetes does not accept the namespace `a.b`: it must have at most 63 lower case letters, digits and `-`, and start and end with a letter or digit
        5 |     namespace: a.b
          |                ^
    stack.yml:6:15: Kubernetes does not accept the secret name `Bad_Secret`: it must have only lower case letters, digits, `-` and `.`, and start and end with a letter or digit
        6 |     secrets: [Bad_Secret]
          |               ^
    stack.yml:8:7: Kubernetes does not accept the label key `-bad`: it must have at most 63 letters, digits, `-`, `_` and `.`, and start and end with a letter or digit; a DNS name and `/` may come before
        8 |       -bad: x
          |       ^
    stack.yml:9:13: Kubernetes does not accept the label value `not good`: it must have at most 63 letters, digits, `-`, `_` and `.`, and start and end with a letter or digit
        9 |       good: 'not good'
          |             ^
    hint: annotations take any value
    stack.yml:11:7: Kubernetes does not accept the annotation key `a b`: it must have at most 63 letters, digits, `-`, `_` and `.`, and start and end with a letter or digit; a DNS name and `/` may come before
       11 |       a b: any value
          |       ^
    stack.yml:13:15: Kubernetes does not accept the amount of memory `128MB`: it is not a quantity
       13 |       memory: 128MB
          |               ^
    hint: write a number with `Mi` or `Gi`, such as `128Mi`
    stack.yml:14:12: Kubernetes does not accept the amount of CPU `half`: it is not a quantity
       14 |       cpu: half
          |            ^
    hint: write a number of cores such as `0.5`, or of thousandths of one such as `500m`
    stack.yml:16:15: Kubernetes does not accept the amount of memory `64m`: it is less than 1 MiB, too little to start a container
       16 |       memory: 64m
          |               ^
    hint: write a number with `Mi` or `Gi`, such as `128Mi`
    stack.yml:17:3: Kubernetes does not accept the function name `1st`: it must have at most 63 lower case letters, digits and `-`, start with a letter, and end with a letter or digit
       17 |   1st:
          |   ^
    ");
}

#[test]
fn warnings_that_explain_a_problem_come_with_it() {
    let found = Case::default()
        .all(format!("{HEAD}  g: {{image: 'r/g:1', secrets: a}}\n  h: {{image: 'r/h:1', fprocess: ${{A}}}}\n"));
    assert!(found.contains("`A` is not set or empty: it is replaced"), "{found}");
}

#[test]
fn field_that_looks_like_another_is_an_error() {
    let text = "function:\n  f:\n    image: r/i:1\nprovider:\n  name: openfaas\n  gatway: x\nx-mine: y\n";
    insta::assert_snapshot!(refused(text), @r"
    stack.yml:1:1: unknown field `function` in the stack file
        1 | function:
          | ^
    hint: write `functions`
    stack.yml:6:3: unknown field `gatway` in `provider`
        6 |   gatway: x
          |   ^
    hint: write `gateway`
    ");
    insta::assert_snapshot!(refused(format!("{HEAD}    limits: {{mem: 5Mi}}\n    env: {{A: b}}\n")), @r"
    stack.yml:7:14: unknown field `mem` in `limits`
        7 |     limits: {mem: 5Mi}
          |              ^
    hint: write `memory`
    stack.yml:8:5: unknown field `env` in function `f`
        8 |     env: {A: b}
          |     ^
    hint: write `environment`
    ");
    // A function works without these.
    let text = format!("{HEAD}    build_arg: {{A: b}}\n    unknown: x\n    label: {{a: b}}\n");
    insta::assert_snapshot!(Case::default().warnings(text), @r"
    stack.yml:7:5: unknown field `build_arg` in function `f`
        7 |     build_arg: {A: b}
          |     ^
    hint: write `build_args`
    stack.yml:8:5: unknown field `unknown` in function `f`: it is ignored
        8 |     unknown: x
          |     ^
    stack.yml:9:5: unknown field `label` in function `f`
        9 |     label: {a: b}
          |     ^
    hint: write `labels`
    ");
}

#[test]
fn other_files_are_named_instead_of_what_they_lack() {
    for (text, what) in [
        (
            "apiVersion: openfaas.com/v1\nkind: Function\nmetadata: {name: f}\nspec: {image: a}\n",
            "a Kubernetes resource",
        ),
        ("services:\n  web:\n    image: nginx\n", "a Docker Compose file"),
        ("image: x\npipelines:\n  default: []\n", "the configuration of Bitbucket Pipelines"),
        ("resolver: lts-22\npackages: [.]\n", "a file of Haskell's `stack`"),
        ("environment:\n  A: 1\n", "an environment file"),
        ("language: node\nfprocess: node index.js\n", "the `template.yml` of a template"),
    ] {
        let expected =
            format!("`stack.yml` is {what}, not a stack file\nhint: write the stack file's path in `STACK_FILE`");
        assert_eq!(refused(text), expected);
    }
    let empty =
        "`stack.yml` is empty\nhint: write `provider:` and `functions:`, or the path of another file in `STACK_FILE`";
    for text in ["", "# nothing\n", "---\n", "~"] {
        assert_eq!(refused(text), empty, "{text}");
    }
    // A stack file with a field of another tool is a stack file.
    assert!(refused("services: {}\nprovider: {name: openfaas}\nfunctions: {}\n").contains("has no functions"));
}

#[test]
fn conflict_of_git_is_one_problem() {
    let text =
        HEAD.replace("    image: r/i:1\n", "<<<<<<< HEAD\n    image: r/i:1\n=======\n    image: r/i:2\n>>>>>>> main\n");
    insta::assert_snapshot!(refused(text), @r"
    stack.yml:6:1: this is a merge conflict of git
        6 | <<<<<<< HEAD
          | ^^^^^^^
    hint: keep one version, remove the lines with the markers, and commit the file
    ");
}

#[test]
fn slips_of_the_keyboard_are_named() {
    insta::assert_snapshot!(refused(HEAD.replace("r/i:1", "r/i:$VERSION")), @r"
    stack.yml:6:12: invalid image name `r/i:$VERSION`: the tag must be at most 128 letters, digits, `_`, `.` and `-`
        6 |     image: r/i:$VERSION
          |            ^
    hint: `$VERSION` is substituted only with braces: write `${VERSION}`
    ");
    insta::assert_snapshot!(refused(HEAD.replace("r/i:1", "“r/i:1”")), @r#"
    stack.yml:6:12: invalid image name `“r/i:1”`: its parts may contain only lower case letters, digits, and `.`, `_`, `-` between them
        6 |     image: “r/i:1”
          |            ^
    hint: it contains the typographic quote `“`: write `'` or `"`
    "#);
    let odd = |text: String| refused(text).lines().last().map(str::to_owned).unwrap_or_default();
    assert!(odd(HEAD.replace("    image", "\u{a0}\u{a0}\u{a0}\u{a0}image")).contains("no-break space (U+00A0)"));
    assert!(odd(format!("{HEAD}    lab\u{200b}els: {{a: b}}\n")).contains("invisible character (U+200B)"));
    assert!(odd(HEAD.replace("    image: r/i:1", "    image:\u{a0}r/i:1")).contains("no-break space (U+00A0)"));
    // What any text may be is only warned about, and `$$NAME` is meant.
    let run = Case { variables: &[("PASSWORD", "x")], ..Case::default() };
    let text = format!("{HEAD}    environment:\n      A: $PASSWORD\n      B: $HOME\n      C: “x”\n");
    insta::assert_snapshot!(run.warnings(&text), @r#"
    stack.yml:8:10: `$PASSWORD` is not substituted, although the variable is set
        8 |       A: $PASSWORD
          |          ^
    hint: write `${PASSWORD}`, or `$$PASSWORD` for the text itself
    stack.yml:10:10: this contains the typographic quote `“`: write `'` or `"`
       10 |       C: “x”
          |          ^
    "#);
    assert_eq!(run.warnings(format!("{HEAD}    environment: {{A: $$PASSWORD}}\n")), "");
}

#[test]
fn variables_in_what_a_deploy_does_not_use_cause_no_warning() {
    let unused = "    lang: ${LANG_OF_F}\n    handler: ${HANDLER}\n    fprocess: node\n    skip_build: ${SKIP}\n    build_args:\n      NPM_TOKEN: ${NPM_TOKEN}\n      OTHER: ${OTHER}\n    build_options: ['${OPTION}']\n    platforms: ${PLATFORMS}\n    labels: {a: b}\n";
    let head = HEAD.replace("  name: openfaas\n", "  name: openfaas\n  network: ${NETWORK}\n  gateway: ${GATEWAY}\n");
    let text = format!("{head}{unused}configuration:\n  templates: [{{name: x, source: '${{SOURCE}}'}}]\n");
    let options = Options { has_gateway: true, ..Options::default() };
    let run = Case { options, ..Case::default() };
    assert_eq!(run.warnings(&text), "");
    // Without `OPENFAAS_URL`, the gateway's address is used; so is a handler if it becomes the tag.
    assert!(Case::default().warnings(&text).contains("`GATEWAY` is not set or empty"));
    // An alias may use what is written in an unused place.
    let aliased = format!("{HEAD}    build_args: &all {{A: 'x${{NONE}}'}}\n    environment: *all\n");
    assert!(Case::default().warnings(aliased).contains("`NONE` is not set or empty"));
    // Neither is a function that is not selected.
    let filter = Options { selector: Some(Selector::Filter("f".to_owned())), ..Options::default() };
    let run = Case { options: filter, ..Case::default() };
    assert_eq!(run.warnings(format!("{HEAD}  g: {{image: 'r/g:1', fprocess: '${{NONE}}'}}\n")), "");
    assert!(run.warnings(HEAD.replace("r/i:1", "r/i${NONE}:1")).contains("`NONE` is not set or empty"));
}

#[test]
fn function_that_a_variable_comments_out_depends_on_it() {
    for off in ["#", ""] {
        let options = Options { prune: true, ..Options::default() };
        let run = Case { options, variables: &[("OFF", off)], ..Case::default() };
        let problems = run.problems(format!("{HEAD}  ${{OFF}}extra: {{image: 'r/e:1'}}\n"));
        assert!(problems.contains("the names of functions depend on variables"), "{problems}");
    }
}

#[test]
fn what_kubernetes_refuses_of_variables_is_reported_once() {
    let pairs = |name: &str, value: &str| vec![(name.to_owned(), value.to_owned())];
    let options = Options {
        namespace: Some("a.b".to_owned()),
        env_vars: pairs("", "x"),
        labels: pairs("a b", "not good"),
        annotations: pairs("c d", "any value"),
        secrets: vec!["Bad_Secret".to_owned()],
        ..Options::default()
    };
    let run = Case { options, ..Case::default() };
    insta::assert_snapshot!(run.all(format!("{HEAD}  g: {{image: 'r/g:1', environment: {{A=B: c}}}}\n")), @r"
    `ENV_VARS`: invalid environment variable name ``: it is empty
    stack.yml:7:37: invalid environment variable name `A=B`: it contains `=`
        7 |   g: {image: 'r/g:1', environment: {A=B: c}}
          |                                     ^
    `OPENFAAS_NAMESPACE`: Kubernetes does not accept the namespace `a.b`: it must have at most 63 lower case letters, digits and `-`, and start and end with a letter or digit
    `LABELS`: Kubernetes does not accept the label key `a b`: it must have at most 63 letters, digits, `-`, `_` and `.`, and start and end with a letter or digit; a DNS name and `/` may come before
    `LABELS`: Kubernetes does not accept the label value `not good`: it must have at most 63 letters, digits, `-`, `_` and `.`, and start and end with a letter or digit
    hint: annotations take any value
    `ANNOTATIONS`: Kubernetes does not accept the annotation key `c d`: it must have at most 63 letters, digits, `-`, `_` and `.`, and start and end with a letter or digit; a DNS name and `/` may come before
    `SECRETS`: Kubernetes does not accept the secret name `Bad_Secret`: it must have only lower case letters, digits, `-` and `.`, and start and end with a letter or digit
    ");
}

#[test]
fn image_that_lacks_a_variable_is_one_message_quoted_or_not() {
    let functions = |image: &str| -> String {
        ["a", "b", "c"].map(|name| format!("  {name}:\n    image: {}\n", image.replace('N', name))).concat()
    };
    let with =
        |image: &str| Case::default().read(format!("provider: {{name: openfaas}}\nfunctions:\n{}", functions(image)));
    let unquoted = with("${REGISTRY}/N:${TAG}").expect_err("problems");
    let quoted = with("'${REGISTRY}/N:${TAG}'").expect_err("problems");
    let first_line = |found: &[Diagnostic]| lines(found).lines().next().map(str::to_owned);
    assert_eq!((of(Severity::Error, &quoted).len(), first_line(&quoted)), (1, first_line(&unquoted)));
    insta::assert_snapshot!(lines(&unquoted), @r"
    stack.yml:4:12: `REGISTRY` and `TAG` are not set or empty: invalid image name `/a:`: the part before the first `/` is empty
        4 |     image: ${REGISTRY}/a:${TAG}
          |            ^^^^^^^^^^^
    hint: a pipe sees only the variables that are passed to it; add
      variables:
        REGISTRY: $REGISTRY
        TAG: $TAG
    and define it as a repository or deployment variable, or give it a default: `${REGISTRY:-default}`
    ");
    let problems = refused(format!(
        "{}  g:\n    image: r/g:${{TAG_B}}\n  h:\n    image:\n",
        HEAD.replace("r/i:1", "r/i:${TAG_A}")
    ));
    assert!(
        problems.contains(":6:12: `TAG_A` is not set") && problems.contains(":8:12: `TAG_B` is not set"),
        "{problems}"
    );
    let warnings = Case::default().warnings(HEAD.replace("r/i:1", "r/i${NONE}:1"));
    assert!(warnings.contains("`NONE` is not set or empty"), "{warnings}");
}

#[test]
fn variable_without_a_value_is_one_warning() {
    let text = format!(
        "{HEAD}    environment:\n      A: ${{NONE}}\n      B: ${{NONE}}${{D:-d}}\n      C: ${{BLANK^^}}\n      E_${{NONE}}=: x\n# ${{COMMENT}}\n"
    );
    let run = Case { variables: &[("BLANK", "")], ..Case::default() };
    insta::assert_snapshot!(run.warnings(text.replace("=:", ":")), @r"
    stack.yml:8:12: `NONE` is not set or empty: it is replaced with an empty text
        8 |       A: ${NONE}
          |            ^^^^
    hint: a pipe sees only the variables that are passed to it; add
      variables:
        NONE: $NONE
    and define it as a repository or deployment variable, or give it a default: `${NONE:-default}`
    stack.yml:10:12: `BLANK` is not set or empty: it is replaced with an empty text
       10 |       C: ${BLANK^^}
          |            ^^^^^
    hint: a pipe sees only the variables that are passed to it; add
      variables:
        BLANK: $BLANK
    and define it as a repository or deployment variable, or give it a default: `${BLANK:-default}`
    ");
    let problems = run.read(text).expect_err("problems");
    let text = lines(&problems);
    assert!(text.starts_with("stack.yml:11:7: `NONE` is not set or empty: invalid environment"), "{text}");
    assert_eq!(of(Severity::Warning, &problems).len(), 1);
    // What YAML trips over is named too if it is no image.
    let problems = refused(format!("{HEAD}    namespace: a:${{NONE}}\n"));
    assert!(
        problems.starts_with("stack.yml:7:17: `NONE` is not set or empty: a second `:` on this line"),
        "{problems}"
    );
}
