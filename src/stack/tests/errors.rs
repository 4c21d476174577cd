use super::*;

#[test]
fn unset_tag_is_named_where_yaml_stumbles_over_it() {
    insta::assert_snapshot!(refused("provider:\n  name: openfaas\nfunctions:\n  f:\n    image: ${REGISTRY}/f:${TAG}\n"), @r"
    stack.yml:5:25: `REGISTRY` and `TAG` are empty or not set, which leaves `image: /f:`
        5 |     image: ${REGISTRY}/f:${TAG}
          |                         ^
          = a second `:` on this line
          = `${REGISTRY}` became nothing: `REGISTRY` is empty or not set
          = `${TAG}` became nothing: `TAG` is empty or not set
    hint: a pipe sees only the variables that are passed to it; add
      variables:
        REGISTRY: $REGISTRY
        TAG: $TAG
    ");
}

#[test]
fn unset_tag_is_named_where_the_image_is_quoted() {
    insta::assert_snapshot!(refused(HEAD.replace("r/i:1", "\"r/i:${TAG}\"")), @r#"
    stack.yml:6:12: `TAG` is empty or not set, which leaves `image: "r/i:"`
        6 |     image: "r/i:${TAG}"
          |            ^
          = `r/i:` is not an image name: the tag after `:` is empty
          = `${TAG}` became nothing: `TAG` is empty or not set
    hint: a pipe sees only the variables that are passed to it; add
      variables:
        TAG: $TAG
    "#);
}

#[test]
fn faults_of_substitution_are_told_at_once_in_the_original_text() {
    insta::assert_snapshot!(refused(format!("# ${{...}}\n{HEAD}    namespace: ${{NS-dev}}\n    lang: ${{SIGN_KEY}}\n")), @r"
    stack.yml:1:3: this `${` is not followed by the name of a variable
        1 | # ${...}
          |   ^^^^^^
    hint: write `${NAME}`, or `$${` where a literal `${` is meant; comments are substituted too
    stack.yml:8:20: `${NS` is followed by `-`, where only `}` or an operator may stand
        8 |     namespace: ${NS-dev}
          |                    ^
    hint: write `${NS:-default}`: the form without `:` is bash, faas-cli does not know it
    stack.yml:9:11: `SIGN_KEY` is a secret of the pipe and is never put into a stack file
        9 |     lang: ${SIGN_KEY}
          |           ^^^^^^^^^^^
    hint: give the function an OpenFaaS secret (`secrets:`) of its own instead
    ");
}

#[test]
fn faults_of_types_are_told_at_once() {
    let fields = "    environment:\n      - A=1\n    secrets: one\n    readonly_root_filesystem: \"true\"\n    labels: {a: [b]}\n    image: again\n";
    insta::assert_snapshot!(refused(format!("{HEAD}{fields}")), @r#"
    stack.yml:8:7: `environment` is a list, where names with values belong
        8 |       - A=1
          |       ^
    hint: write `NAME: value` lines, without `- ` and `=`
    stack.yml:9:14: `secrets` is the text `one`, where a list belongs
        9 |     secrets: one
          |              ^
    hint: write `[one]`, or each item on a line of its own after `- `
    stack.yml:10:31: `readonly_root_filesystem` is the text `true`, where `true` or `false` belongs
       10 |     readonly_root_filesystem: "true"
          |                               ^
    hint: write `true` without quotes
    stack.yml:11:17: `a` of `labels` is a list, where a text belongs
       11 |     labels: {a: [b]}
          |                 ^
    hint: quote the value where it begins with `[` or `- `
    stack.yml:12:5: `image` stands here for the second time
       12 |     image: again
          |     ^
          = the first one is on line 6
    hint: keep one of them
    "#);
}

#[test]
fn faults_of_all_functions_and_of_the_provider_are_told_at_once() {
    let text = "version: 2\nprovider:\n  name: faas\nfunctions:\n  a:\n    image: a b\n  b: {}\n  c/d:\n    image: r/c:\n    environment_file: [none.yml]\n";
    insta::assert_snapshot!(refused(text.replace("r/c:", "r/c@")), @r"
    stack.yml:1:10: `version` is `2`, and faas-cli takes `1.0` only
        1 | version: 2
          |          ^
    hint: write `version: 1.0`
    stack.yml:3:9: `provider.name` is `faas`, and faas-cli takes `openfaas` only
        3 |   name: faas
          |         ^
    hint: write `name: openfaas`
    stack.yml:6:12: `a b` is not an image name: it holds the character ` `
        6 |     image: a b
          |            ^
    hint: write `image: registry.example.com/name:tag`
    stack.yml:7:3: function `b` has no image
        7 |   b: {}
          |   ^
    hint: write `image: registry.example.com/name:tag`
    stack.yml:8:3: no URL can name the function `c/d`: it holds `/`
        8 |   c/d:
          |   ^
    hint: use lower case letters, digits and `-`
    stack.yml:9:12: `r/c@` is not an image name: the digest after `@` is empty
        9 |     image: r/c@
          |            ^
    hint: write `image: registry.example.com/name:tag`
    stack.yml:10:24: `/nonexistent/none.yml` cannot be read: No such file or directory (os error 2)
       10 |     environment_file: [none.yml]
          |                        ^
    hint: a path is relative to the folder the pipe runs in; commit the file, or pass it as an artifact
    ");
}

#[test]
fn value_with_several_lines_is_told() {
    let run = Run { variables: &[("CERT", "one\ntwo")], ..Run::default() };
    let problems = run.read(format!("{HEAD}    environment:\n      A: ${{CERT}}\n      B: c\n")).expect_err("problems");
    assert_eq!(problems.warnings, []);
    insta::assert_snapshot!(problems, @r"
    stack.yml:9:8: a name without `: ` stands before this
        9 |       B: c
          |        ^
          = `${CERT}` became `<7 characters>`
    hint: the line breaks of `${CERT}` would become spaces even in double quotes: pass it with `ENV_VARS`, or as an OpenFaaS secret
    ");
}

#[test]
fn cut_character_is_told() {
    let run = Run { variables: &[("NAME", "é")], ..Run::default() };
    insta::assert_snapshot!(run.problems(format!("{HEAD}    namespace: ${{NAME:0:1}}\n")), @r"
    stack.yml:7:16: what a substitution cuts out here is not whole characters
        7 |     namespace: ${NAME:0:1}
          |                ^^^^^^^^^^^
          = `${NAME:0:1}` became `�`
    hint: offsets and lengths count bytes, and `é` has two of them
    ");
}

#[test]
fn long_lines_are_cut_around_the_place() {
    let text = format!("{HEAD}    environment: {{A: '{}', B: [x], C: '{}'}}\n", "é".repeat(200), "x".repeat(300));
    insta::assert_snapshot!(refused(text), @r"
    stack.yml:7:229: `B` of `environment` is a list, where a text belongs
        7 | …ééééééééééééééééééééééééééééééééééééééééééééééééééééééé', B: [x], C: 'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…
          |                                                               ^
    hint: quote the value where it begins with `[` or `- `
    ");
}

#[test]
fn nothing_to_deploy_is_told() {
    insta::assert_snapshot!(refused("# empty\n"), @r"
    stack.yml: `provider.name` is missing
    hint: write
    provider:
      name: openfaas
    `stack.yml` has no functions
    hint: write `functions:` with the name of a function and its `image:` below it
    ");
}

#[test]
fn too_large_a_file_is_refused() {
    insta::assert_snapshot!(refused(vec![b'#'; MAX_FILE + 1]), @r"
    `stack.yml` is larger than 1 MiB
    hint: a stack file holds settings only; is this the right file?
    ");
}

#[test]
fn unset_variables_are_warned_about_once_each() {
    let text = format!(
        "{HEAD}    environment:\n      A: ${{NONE}}\n      B: ${{NONE}}${{D:-d}}\n      C: ${{BLANK^^}}\n# ${{COMMENT}}\n"
    );
    let run = Run { variables: &[("BLANK", "")], ..Run::default() };
    insta::assert_snapshot!(run.warnings(text), @r"
    stack.yml:8:12: `NONE` is empty or not set, and nothing is put in its place
        8 |       A: ${NONE}
          |            ^^^^
    hint: a pipe sees only the variables that are passed to it; add
      variables:
        NONE: $NONE
    or give it a default: `${NONE:-default}`
    stack.yml:10:12: `BLANK` is empty or not set, and nothing is put in its place
       10 |       C: ${BLANK^^}
          |            ^^^^^
    hint: a pipe sees only the variables that are passed to it; add
      variables:
        BLANK: $BLANK
    or give it a default: `${BLANK:-default}`
    ");
}

#[test]
fn what_kubernetes_would_refuse_is_warned_about() {
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
    insta::assert_snapshot!(Run::default().warnings(text), @r"
    stack.yml:3:3: Kubernetes takes no function named `Upper_Case`: it holds `U`, where only lower case letters, digits and `-` may stand
        3 |   Upper_Case:
          |   ^
    stack.yml:4:12: no container runtime takes the image name `R/Upper:1`: `Upper` has capital letters
        4 |     image: R/Upper:1
          |            ^
    hint: write `image: registry.example.com/name:tag`
    stack.yml:5:16: Kubernetes has no namespace `a.b`: it holds `.`, where only lower case letters, digits and `-` may stand
        5 |     namespace: a.b
          |                ^
    stack.yml:6:15: Kubernetes has no secret `Bad_Secret`: it may hold only lower case letters, digits, `-` and `.`, and begin and end with a letter or digit
        6 |     secrets: [Bad_Secret]
          |               ^
    stack.yml:8:7: Kubernetes takes no label named `-bad`: it must begin and end with a letter or digit
        8 |       -bad: x
          |       ^
    stack.yml:9:13: Kubernetes does not take this value of the label `good`: it holds ` `, where only letters, digits, `-`, `_` and `.` may stand
        9 |       good: 'not good'
          |             ^
    hint: annotations take any value
    stack.yml:11:7: Kubernetes takes no annotation named `a b`: it holds ` `, where only letters, digits, `-`, `_` and `.` may stand
       11 |       a b: any value
          |       ^
    stack.yml:13:15: `128MB` is not a quantity as Kubernetes writes it
       13 |       memory: 128MB
          |               ^
    hint: write `128Mi`
    stack.yml:14:12: `half` is not a quantity as Kubernetes writes it
       14 |       cpu: half
          |            ^
    hint: write a number of cores such as `0.5`, or of thousandths of one such as `500m`
    stack.yml:16:15: `64m` is 0.064 bytes, too little to start a container
       16 |       memory: 64m
          |               ^
    hint: write `64Mi`
    stack.yml:17:3: Kubernetes takes no function named `1st`: it must begin with a letter
       17 |   1st:
          |   ^
    stack.yml:18:12: no container runtime takes the image name `r/i@sha256:00`: the digest `sha256:00` is not `sha256:` with 64 hex digits
       18 |     image: r/i@sha256:00
          |            ^
    hint: write `image: registry.example.com/name:tag`
    ");
}

#[test]
fn warnings_of_shared_nodes_stand_once() {
    let text = format!("x: &x {{'a b': c}}\n{HEAD}    labels: *x\n  g:\n    image: r/g:1\n    labels: *x\n");
    assert_eq!(Run::default().read(text).expect("stack").warnings.len(), 1);
}

#[test]
fn field_that_looks_like_another_is_warned_about() {
    let text = format!("{HEAD}    enviroment: {{A: b}}\n    secret: [a]\n    owner: me\n");
    insta::assert_snapshot!(Run::default().warnings(text), @r"
    stack.yml:7:5: function `f` has the unknown field `enviroment`
        7 |     enviroment: {A: b}
          |     ^
    hint: write `environment`
    stack.yml:8:5: function `f` has the unknown field `secret`
        8 |     secret: [a]
          |     ^
    hint: write `secrets`
    ");
}

#[test]
fn long_value_is_never_shown_in_part() {
    let secret = "hunter2-abcd";
    crate::console::redact::Secret::new(secret.to_owned());
    let value = format!("first-part-{}", "b".repeat(80));
    let run = Run { variables: &[("PW", "xxxxxhunter2-abcd"), ("LONG", &value)], ..Run::default() };
    let problems = run.problems(HEAD.replace("r/i:1", &format!("\"x y/{}${{PW}}:1\"", "a".repeat(64))));
    assert!(problems.contains("axxxxx***:1` is not an image name"), "{problems}");
    let problems = run.problems(HEAD.replace("r/i:1", "x y/${LONG}"));
    assert!(problems.contains("`<95 characters>`") && !problems.contains("first-part"), "{problems}");
    let fields = format!("    environment: {{A: '{secret}{}', B: [x]}}\n", "a".repeat(50));
    let problems = run.problems(format!("{HEAD}{fields}"));
    assert!(problems.contains(" | <") && !problems.contains("abcd"), "{problems}");
}

#[test]
fn token_is_refused_wherever_it_would_be_sent() {
    let text = "\
x: &x {l: the.step.token}
provider: {name: openfaas}
functions:
  f:
    image: r/i:${T}
    namespace: ${T}
    fprocess: run ${T}
    environment:
      A: plain
      B: ${T}
      ${T}: c
    secrets: [a, '${T}']
    constraints: ['${T}']
    labels: *x
    annotations: {two: '${T}'}
    limits: {cpu: '${T}'}
    requests: {memory: '${T}'}
  g: {image: 'r/i:1', labels: *x, handler: '${T}'}
  h${T}: {image: 'r/i:1'}
";
    let run = Run { variables: &[("T", TOKEN)], ..Run::default() };
    let problems = run.read(text).expect_err("problems");
    let places: Vec<&str> =
        problems.problems.iter().filter_map(|problem| problem.message.strip_suffix(" this holds a token")).collect();
    let expected = [
        "1:11:", "5:12:", "6:16:", "7:15:", "10:10:", "11:7:", "12:18:", "13:19:", "15:24:", "16:19:", "17:24:",
        "19:3:",
    ];
    assert_eq!(places, expected.map(|place| format!("stack.yml:{place}")), "{problems}");
    insta::assert_snapshot!(problems.problems[4], @r"
    stack.yml:10:10: this holds a token
       10 |       B: ${T}
          |          ^^^^
          = `${T}` became `the.step.token`
    hint: give the function an OpenFaaS secret (`secrets:`) of its own instead
    ");
}

#[test]
fn token_in_an_environment_file_is_told_where_the_stack_file_names_it() {
    let folder = tempfile::tempdir().expect("folder");
    std::fs::write(folder.path().join("one.yml"), format!("environment: {{KEY: x{TOKEN}}}\n")).expect("write");
    let run = Run { base: folder.path(), ..Run::default() };
    insta::assert_snapshot!(run.problems(format!("{HEAD}    environment_file: [one.yml]\n")), @r"
    stack.yml:7:24: `KEY` of this file holds a token
        7 |     environment_file: [one.yml]
          |                        ^
    hint: give the function an OpenFaaS secret (`secrets:`) of its own instead
    ");
}

#[test]
fn texts_of_the_file_stand_on_one_line_and_cut() {
    let long = "x".repeat(100_000);
    let label = format!("{HEAD}    labels: {{\"foo\\nERROR: forged/b\": c, \"{long}/b\": c}}\n");
    let image = |image: &str| HEAD.replace("r/i:1", image);
    let quantity = format!("{HEAD}    limits: {{memory: {}MB}}\n", "1".repeat(100_000));
    let texts = [
        label,
        quantity,
        image(&format!("r/i:{long}")),
        image(&format!("r/i@{long}")),
        image(&format!("R{long}_/i:1")),
        image(&format!("r/A{long}:1")),
        image(&format!("r/_{long}:1")),
        format!("{HEAD}    namespace: ${{{long}}}\n"),
    ];
    for text in texts {
        let warnings = Run::default().warnings(&text);
        assert!(warnings.len() < 3000 && !warnings.contains("\nERROR"), "{}", &warnings[..3000.min(warnings.len())]);
    }
    for text in [format!("${{{long}.}}"), image(&format!("r/i:${{{long}}}"))] {
        let problems = refused(&text);
        assert!(problems.len() < 3000, "{}", &problems[..3000]);
    }
}

#[test]
fn value_with_several_lines_is_warned_about_where_it_is_taken_apart() {
    let run = Run { variables: &[("CERT", "one\ntwo: 2"), ("END", "one\n")], ..Run::default() };
    let text = format!("# ${{END}}\n{HEAD}    environment:\n      A: \"${{CERT}}\"\n      B: ${{END}}\n");
    insta::assert_snapshot!(run.warnings(text), @r#"
    stack.yml:9:11: `${CERT}` has several lines, which do not reach the function as they are
        9 |       A: "${CERT}"
          |           ^^^^^^^
    hint: the line breaks of `${CERT}` would become spaces even in double quotes: pass it with `ENV_VARS`, or as an OpenFaaS secret
    "#);
}

#[test]
fn second_document_is_warned_about() {
    let text = format!("{HEAD}---\nfunctions:\n  g: {{image: 'r/g:1'}}\n");
    insta::assert_snapshot!(Run::default().warnings(text), @r"
    stack.yml:7:1: faas-cli reads the first document only; what follows is ignored
        7 | ---
          | ^
    hint: move it into the first document, or into a file of its own
    ");
}

#[test]
fn warnings_that_explain_a_problem_come_with_it() {
    let problems = Run::default().read(HEAD.replace("image", "imaeg")).expect_err("problems");
    insta::assert_snapshot!(problems.warnings[0], @r"
    stack.yml:6:5: function `f` has the unknown field `imaeg`
        6 |     imaeg: r/i:1
          |     ^
    hint: write `image`
    ");
    let problems = Run::default()
        .read(format!("{HEAD}  g: {{image: 'r/g:1', secrets: a}}\n  h: {{image: 'r/h:1', fprocess: ${{A}}}}\n"));
    let warnings = problems.expect_err("problems").warnings;
    assert!(warnings[0].message.contains("`A` is empty or not set"), "{}", warnings[0]);
}

#[test]
fn all_names_without_a_value_are_told_at_once() {
    let text = format!("{}  g:\n    image: r/g:${{TAG_B}}\n# ${{NOTE}}\n", HEAD.replace("r/i:1", "r/i:${TAG_A}"));
    let problems = Run::default().read(text).expect_err("problems");
    assert_eq!(problems.warnings, []);
    insta::assert_snapshot!(problems, @r"
    stack.yml:6:15: `TAG_A` is empty or not set, which leaves `image: r/i:`
        6 |     image: r/i:${TAG_A}
          |               ^
          = a second `:` on this line
          = `${TAG_A}` became nothing: `TAG_A` is empty or not set
    hint: a pipe sees only the variables that are passed to it; add
      variables:
        TAG_A: $TAG_A
        TAG_B: $TAG_B
    ");
}

#[test]
fn name_without_a_value_is_told_once_where_several_functions_use_it() {
    let functions: String =
        ["a", "b", "c"].map(|name| format!("  {name}: {{image: \"${{REG}}/{name}:1\"}}\n")).concat();
    let warnings = Run::default().warnings(format!("provider: {{name: openfaas}}\nfunctions:\n{functions}"));
    assert_eq!(warnings.matches("`REG` is empty or not set, and").count(), 1, "{warnings}");
    assert_eq!(warnings.matches("REG: $REG").count(), 1, "{warnings}");
    insta::assert_snapshot!(warnings.split("\nstack.yml:4").nth(1).unwrap_or_default(), @r#"
    :14: no container runtime takes the image name `/b:1`: a part between two `/` is empty
        4 |   b: {image: "${REG}/b:1"}
          |              ^
          = `${REG}` became nothing: `REG` is empty or not set
    hint: write `image: registry.example.com/name:tag`
    stack.yml:5:14: no container runtime takes the image name `/c:1`: a part between two `/` is empty
        5 |   c: {image: "${REG}/c:1"}
          |              ^
          = `${REG}` became nothing: `REG` is empty or not set
    hint: write `image: registry.example.com/name:tag`
    "#);
}

#[test]
fn field_outside_of_functions_that_looks_like_another_is_warned_about() {
    let text = "function:\n  f:\n    image: r/i:1\nprovider:\n  name: openfaas\n  gatway: x\nx-mine: y\n";
    let problems = Run::default().read(text).expect_err("problems");
    let warnings: Vec<String> = problems.warnings.iter().map(Problem::to_string).collect();
    insta::assert_snapshot!(warnings.join("\n"), @r"
    stack.yml:1:1: the stack file has the unknown field `function`
        1 | function:
          | ^
    hint: write `functions`
    stack.yml:6:3: `provider` has the unknown field `gatway`
        6 |   gatway: x
          |   ^
    hint: write `gateway`
    ");
    insta::assert_snapshot!(Run::default().warnings(format!("{HEAD}    limits: {{mem: 5Mi}}\n    env: {{A: b}}\n")), @r"
    stack.yml:7:14: `limits` has the unknown field `mem`
        7 |     limits: {mem: 5Mi}
          |              ^
    hint: write `memory`
    stack.yml:8:5: function `f` has the unknown field `env`
        8 |     env: {A: b}
          |     ^
    hint: write `environment`
    ");
}

#[test]
fn web_page_is_no_stack_file() {
    insta::assert_snapshot!(refused("\n<!DOCTYPE html>\n<html>\n"), @r"
    `stack.yml` is a web page, not a stack file
    hint: take the address that leads to the file's text alone, which is often called raw
    ");
    assert_eq!(Run::default().bodies(format!("<<: {{a: b}}\n{HEAD}")).len(), 1);
}

#[test]
fn what_kubernetes_would_refuse_of_variables_is_warned_about_once() {
    let pairs = |name: &str, value: &str| vec![(name.to_owned(), value.to_owned())];
    let options = Options {
        namespace: Some("a.b".to_owned()),
        env_vars: pairs("", "x"),
        labels: pairs("a b", "not good"),
        annotations: pairs("c d", "any value"),
        secrets: vec!["Bad_Secret".to_owned()],
        ..Options::default()
    };
    let run = Run { options, ..Run::default() };
    insta::assert_snapshot!(run.warnings(format!("{HEAD}  g: {{image: 'r/g:1', environment: {{A=B: c}}}}\n")), @r"
    `OPENFAAS_NAMESPACE`: Kubernetes has no namespace `a.b`: it holds `.`, where only lower case letters, digits and `-` may stand
    `ENV_VARS`: Kubernetes takes no environment variable named ``: it is empty
    `LABELS`: Kubernetes takes no label named `a b`: it holds ` `, where only letters, digits, `-`, `_` and `.` may stand
    `LABELS`: Kubernetes does not take this value of the label `a b`: it holds ` `, where only letters, digits, `-`, `_` and `.` may stand
    hint: annotations take any value
    `ANNOTATIONS`: Kubernetes takes no annotation named `c d`: it holds ` `, where only letters, digits, `-`, `_` and `.` may stand
    `SECRETS`: Kubernetes has no secret `Bad_Secret`: it may hold only lower case letters, digits, `-` and `.`, and begin and end with a letter or digit
    stack.yml:7:37: Kubernetes takes no environment variable named `A=B`: it holds `=`
        7 |   g: {image: 'r/g:1', environment: {A=B: c}}
          |                                     ^
    ");
}
