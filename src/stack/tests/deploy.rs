use std::fs;

use super::*;

fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
    list.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn texts(list: &[&str]) -> Vec<String> {
    list.iter().map(|text| (*text).to_owned()).collect()
}

fn with(options: Options) -> Case<'static> {
    Case { options, ..Case::default() }
}

const TWO: &str = "provider: {name: openfaas}\nfunctions:\n  zeta: {image: 'r/z:1'}\n  alpha: {image: 'r/a'}\n";

#[test]
fn functions_keep_the_order_of_the_file() {
    let names: Vec<Value> = Case::default().bodies(TWO).iter().map(|body| body["service"].clone()).collect();
    assert_eq!(names, ["zeta", "alpha"]);
}

#[test]
fn options_are_merged_as_faas_cli_merges_them() {
    let options = Options {
        namespace: Some("given".to_owned()),
        env_vars: pairs(&[("A", "given")]),
        labels: pairs(&[("l", "given")]),
        annotations: pairs(&[("n", "given")]),
        secrets: texts(&["x", "b"]),
        constraints: texts(&["given"]),
        read_only: true,
        ..Options::default()
    };
    let own = "    namespace: own\n    environment: {A: own, B: own}\n    labels: {l: own, m: own}\n    secrets: [b, c, c]\n    constraints: [own]\n";
    assert_eq!(
        with(options.clone()).bodies(format!("{HEAD}{own}"))[0],
        json!({"service": "f", "image": "r/i:1", "namespace": "given", "envVars": {"A": "given", "B": "own"},
            "constraints": ["own"], "secrets": ["x", "b", "c", "c"], "labels": {"l": "given", "m": "own"},
            "annotations": {"n": "given"}, "readOnlyRootFilesystem": true})
    );
    let constraints = |fields: &str| with(options.clone()).bodies(format!("{HEAD}{fields}"))[0]["constraints"].clone();
    assert_eq!(constraints(""), json!(["given"]));
    assert_eq!(constraints("    constraints:\n"), json!(["given"]));
    assert_eq!(constraints("    constraints: []\n"), Value::Null);
}

#[test]
fn selection_takes_names_by_wildcard_or_regular_expression() {
    let names = |options: Options| -> Vec<Value> {
        with(options).bodies(TWO).iter().map(|body| body["service"].clone()).collect()
    };
    assert_eq!(names(Options { selector: Some(Selector::Filter("*pha".to_owned())), ..Options::default() }), ["alpha"]);
    assert_eq!(
        names(Options { selector: regex_lite::Regex::new("^[yz]").ok().map(Selector::Regex), ..Options::default() }),
        ["zeta"]
    );
    assert_eq!(names(Options { selector: Some(Selector::Filter("b*".to_owned())), ..Options::default() }), [""; 0]);
}

#[test]
fn what_is_not_selected_is_not_checked_for_more_than_its_types() {
    let text = format!("{TWO}  broken: {{environment_file: [none.yml]}}\n");
    let filter = Options { selector: Some(Selector::Filter("*eta".to_owned())), ..Options::default() };
    assert_eq!(with(filter.clone()).bodies(&text).len(), 1);
    with(filter).problems(format!("{TWO}  broken: {{secrets: a}}\n"));
}

#[test]
fn image_names_follow_the_tag_format() {
    let digest = format!("r/i@sha256:{}", "0".repeat(64));
    let rows = [
        ("i", "i:latest", "i:latest-v", "i:latest-b-v", "i:hash-of-h"),
        (
            "r.io:5000/i",
            "r.io:5000/i:latest",
            "r.io:5000/i:latest-v",
            "r.io:5000/i:latest-b-v",
            "r.io:5000/i:hash-of-h",
        ),
        ("r/i:1.10", "r/i:1.10", "r/i:1.10-v", "r/i:1.10-b-v", "r/i:hash-of-h"),
        ("1.10", "1.10:latest", "1.10:latest-v", "1.10:latest-b-v", "1.10:hash-of-h"),
    ];
    let run = |image: &str, tag: Tag| {
        let text = format!("provider: {{name: openfaas}}\nfunctions: {{f: {{image: \"{image}\", handler: ./h}}}}\n");
        with(Options { tag, ..Options::default() }).read(text).map(|stack| stack.functions[0].deployment.image.clone())
    };
    let version = || Tag::Version("v".to_owned());
    let branch = || Tag::Version("b-v".to_owned());
    for (image, latest, sha, branched, hashed) in rows {
        assert_eq!(run(image, Tag::Latest).as_deref(), Ok(latest));
        assert_eq!(run(image, version()).as_deref(), Ok(sha));
        assert_eq!(run(image, branch()).as_deref(), Ok(branched));
        assert_eq!(run(image, Tag::Digest).as_deref(), Ok(hashed));
    }
    assert_eq!(run(&digest, Tag::Latest).as_deref(), Ok(digest.as_str()));
    assert!(run(&digest, version()).is_err());
}

#[test]
fn digest_needs_the_handler() {
    let run = with(Options { tag: Tag::Digest, ..Options::default() });
    insta::assert_snapshot!(run.problems(HEAD), @r"
    stack.yml:5:3: `TAG_FORMAT: digest` needs the handler of `f`: `handler` is missing
        5 |   f:
          |   ^
    hint: write `handler:` with the function's folder, or use another `TAG_FORMAT`
    ");
    let problems = run.problems(format!("{HEAD}    handler: ./missing\n"));
    assert!(problems.contains("needs the handler of `f`: no such folder at /nonexistent/./missing"), "{problems}");
    let here = Case { base: Path::new("."), ..run };
    let path = format!("./{}missing", "long/".repeat(20));
    let problems = here.problems(format!("{HEAD}    handler: {path}\n"));
    assert!(problems.contains(&format!("no such folder at {path}\n")), "{problems}");
}

#[test]
fn branch_that_no_tag_can_contain_is_refused() {
    let tag = Tag::Version("feature/x-v".to_owned());
    let problems = with(Options { tag, ..Options::default() }).problems(HEAD);
    assert!(problems.contains("hint: use `TAG_FORMAT: sha`"), "{problems}");
}

#[test]
fn environment_files_come_between_inline_and_option_and_are_not_substituted() {
    let folder = tempfile::tempdir().expect("folder");
    fs::write(folder.path().join("one.yml"), "environment:\n  A: one\n  B: 1.10\n  D: ${X} $$\n").expect("write");
    fs::write(folder.path().join("two.yml"), "other: [x]\nenvironment: {B: two, E: ~}\n").expect("write");
    fs::write(folder.path().join("empty.yml"), "").expect("write");
    let options = Options { env_vars: pairs(&[("C", "option")]), ..Options::default() };
    let run = Case { options, variables: &[("X", "x"), ("FILE", "one")], base: folder.path(), ..Case::default() };
    let fields = "    environment: {A: inline, C: inline, F: inline}\n    environment_file: [\"${FILE}.yml\", ~, two.yml, empty.yml]\n";
    let expected = json!({"A": "one", "B": "two", "C": "option", "D": "${X} $$", "E": "", "F": "inline"});
    assert_eq!(run.bodies(format!("{HEAD}{fields}"))[0]["envVars"], expected);
}

#[test]
fn command_comes_from_the_file_else_from_the_template() {
    let folder = tempfile::tempdir().expect("folder");
    fs::create_dir_all(folder.path().join("template/go")).expect("folder");
    fs::write(folder.path().join("template/go/template.yml"), "language: go\nfprocess: ./handler\n").expect("write");
    let run = Case { base: folder.path(), ..Case::default() };
    let process = |fields: &str| run.bodies(format!("{HEAD}{fields}"))[0]["envProcess"].clone();
    assert_eq!(process("    lang: go\n"), "./handler");
    assert_eq!(process("    lang: go\n    fprocess: own\n"), "own");
    assert_eq!(process("    fprocess: own\n"), "own");
    assert_eq!(process("    lang: Dockerfile\n    fprocess: own\n"), "own");
    assert_eq!(process("    lang: python3\n"), Value::Null);
    assert_eq!(process("    lang: ../template/go\n"), Value::Null);
    fs::write(folder.path().join("template/go/template.yml"), "fprocess: [a]\n").expect("write");
    assert!(
        run.problems(format!("{HEAD}    lang: go\n"))
            .starts_with("template/go/template.yml:1:11: `fprocess` must be a text, not a list")
    );
}

#[test]
fn gateway_is_substituted() {
    let run = Case { variables: &[("URL", "https://gw.example.com")], ..Case::default() };
    let text = format!("# ${{NOTE}}\n{}", HEAD.replace("name: openfaas", "name: openfaas\n  gateway: ${URL}"));
    let stack = run.read(text).expect("stack");
    assert_eq!(stack.gateway.as_deref(), Some("https://gw.example.com"));
    assert!(stack.warnings.is_empty());
    assert_eq!(Case::default().read(HEAD).expect("stack").gateway, None);
}

#[test]
fn lines_are_those_of_the_file() {
    let run = Case { variables: &[("LINES", "one\ntwo")], ..Case::default() };
    let text = format!("# ${{LINES:-x}}\n{HEAD}    secrets:\n      - a\n").replace("# ${LINES:-x}", "x: \"${LINES}\"");
    let stack = run.read(text).expect("stack");
    let function = &stack.functions[0];
    assert_eq!((function.location.line, function.place_of("image").line, function.place_of("secrets").line), (6, 7, 8));
    assert_eq!(function.place_of("labels").line, 6);
}

#[test]
fn all_functions_are_named_whatever_is_selected() {
    let filter = Options { selector: Some(Selector::Filter("zeta".to_owned())), ..Options::default() };
    let text = TWO.replace("'r/a'", "'r/a', namespace: own");
    let stack = with(filter).read(&text).expect("stack");
    let names = |stack: Stack| stack.named.iter().map(FunctionName::to_string).collect::<Vec<_>>();
    assert_eq!(names(stack), ["zeta", "alpha.own"]);
    let namespace = Options { namespace: Some("given".to_owned()), ..Options::default() };
    assert_eq!(names(with(namespace).read(&text).expect("stack")), ["zeta.given", "alpha.given"]);
}

#[test]
fn prune_refuses_names_that_depend_on_variables() {
    let run = Case {
        options: Options { prune: true, ..Options::default() },
        variables: &[
            ("ENV", "dev"),
            ("MAP", "{f: {image: 'r/f:1'}}"),
            ("ENTRY", "g: {image: 'r/g:1'}"),
            ("LINES", "a\n  g: {image: 'r/g:1'}"),
        ],
        ..Case::default()
    };
    let read =
        |text: &str| run.read(format!("provider: {{name: openfaas}}\nx: &dev {{d: {{image: 'r/d:1'}}}}\n{text}\n"));
    for text in [
        "functions: {f: {image: 'r/f:${ENV}', namespace: '${ENV}'}, g: {image: '${ENV}'}}",
        "functions:\n  f:\n    image: r/f:${ENV}\n    secrets: [${NONE}]\n    labels:\n      ${ENV}: x\n  # ${ENTRY}",
        "functions:\n  f: &a${ENV} {image: r/f}\n  g: *a${ENV}\n  <<: *dev",
    ] {
        read(text).expect(text);
    }
    for text in [
        "functions:\n  f-${ENV}: {image: r/f}",
        "functions:\n  \"${ENV}-f\": {image: r/f}",
        "functions:\n  ? f${ENV}\n  : {image: r/f}",
        "functions:\n  f${NONE}: {image: r/f}",
        "functions:\n  'f${NONE:-}': {image: r/f}",
        "functions: ${MAP}",
        "functions:\n  ${ENTRY}\n  f: {image: r/f}",
        "functions:\n  f: {image: r/f}\n  ${NONE}",
        "functions: {f: {image: r/f} ${NONE}}",
        "functions:\n  f: {image: r/f, fprocess: b}\n  <<: *${ENV}",
        "functions: *${ENV}",
        "y: &y 'f-${ENV}'\nfunctions: {*y : {image: r/f}}",
        "functions:\n  f:\n    image: r/f\n    fprocess: ${LINES}",
    ] {
        let problems = lines(&read(text).expect_err(text));
        assert!(problems.contains("the names of functions depend on variables"), "{problems}");
    }
    insta::assert_snapshot!(run.problems(HEAD.replace("  f:", "  f-${ENV}:")), @r"
    stack.yml:5:3: the names of functions depend on variables: with other values, `PRUNE` would remove what is deployed now
        5 |   f-${ENV}:
          |   ^
    hint: write `${…}` only in values, not in names or in place of whole functions, or remove `PRUNE`
    ");
}

#[test]
fn stack_file_from_a_url_reads_no_local_files() {
    let folder = tempfile::tempdir().expect("folder");
    fs::create_dir_all(folder.path().join("template/go")).expect("folder");
    fs::write(folder.path().join("template/go/template.yml"), "fprocess: ./local\n").expect("write");
    fs::write(folder.path().join("env.yml"), "environment: {A: local}\n").expect("write");
    let run = Case { base: folder.path(), is_remote: true, ..Case::default() };
    assert_eq!(run.bodies(format!("{HEAD}    lang: go\n"))[0]["envProcess"], Value::Null);
    insta::assert_snapshot!(run.problems(format!("{HEAD}    environment_file: [env.yml]\n")), @r"
    stack.yml:7:24: a stack file from a URL cannot read local files
        7 |     environment_file: [env.yml]
          |                        ^
    hint: commit the stack file to the repository, or write the variables under `environment`
    ");
    let run = Case { options: Options { tag: Tag::Digest, ..Options::default() }, ..run };
    let problems = run.problems(format!("{HEAD}    handler: ./f\n"));
    assert!(problems.contains("a stack file from a URL cannot name local folders"), "{problems}");
}
