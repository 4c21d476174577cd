//! What messages show of values and files.

use std::fs;

use super::*;

#[test]
fn long_value_is_never_shown_in_part() {
    let secret = "hunter2-abcd";
    crate::console::redact::Secret::new(secret.to_owned());
    let value = format!("first-part-{}", "b".repeat(80));
    let run = Case { variables: &[("PW", "xxxxxhunter2-abcd"), ("LONG", &value)], ..Case::default() };
    let problems = run.problems(HEAD.replace("r/i:1", &format!("\"x y/{}${{PW}}:1\"", "a".repeat(64))));
    assert!(problems.contains("axxxxx***:1`: its parts"), "{problems}");
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
    let run = Case { variables: &[("T", TOKEN)], ..Case::default() };
    let problems = run.read(text).expect_err("problems");
    let of_tokens = problems.iter().filter(|problem| problem.message.starts_with("this holds a token\n"));
    let places: Vec<_> = of_tokens.map(|diagnostic| diagnostic.place.as_str()).collect();
    let expected =
        ["1:11", "5:12", "6:16", "7:15", "10:10", "11:7", "12:18", "13:19", "15:24", "16:19", "17:24", "19:3"];
    assert_eq!(places, expected.map(|place| format!("stack.yml:{place}")), "{}", lines(&problems));
    insta::assert_snapshot!(problems[4], @r"
    stack.yml:10:10: this holds a token
       10 |       B: ${T}
          |          ^^^^
          = `${T}` is replaced with `the.step.token`
    hint: give the function an OpenFaaS secret (`secrets:`) of its own instead
    ");
}

#[test]
fn texts_of_the_file_are_on_one_line_and_whole_or_not_shown() {
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
        format!("${{{long}.}}"),
        image(&format!("r/i:${{{long}}}")),
    ];
    for text in texts {
        let found = Case::default().read(&text).map_or_else(|found| lines(&found), |stack| lines(&stack.warnings));
        assert!(found.len() < 3000 && !found.contains("\nERROR"), "{}", &found[..3000.min(found.len())]);
    }
}

#[test]
fn value_is_shown_whole_or_not_at_all() {
    let (short, long) = ("q".repeat(80), "q".repeat(81));
    for (value, shown) in [
        (short.as_str(), format!("`{short}`")),
        (&long, "`<81 characters>`".to_owned()),
        ("q\nq", "`<3 characters>`".to_owned()),
        ("/part #q", "`/part #q`".to_owned()),
    ] {
        for text in [
            format!("{HEAD}    secrets: \"${{V}}\"\n"),
            HEAD.replace("  f:", "  \"/${V}\":"),
            HEAD.replace("r/i:1", "\"/${V}\""),
            HEAD.replace("r/i:1", "/${V}"),
        ] {
            let run = Case { variables: &[("V", value)], ..Case::default() };
            let problems = run.problems(text);
            assert!(problems.contains(&format!("`${{V}}` is replaced with {shown}")), "{problems}");
            assert!(value.len() == 80 || !problems.contains("qq"), "{problems}");
            assert!(!problems.contains("q q") && !problems.contains("part`"), "{problems}");
        }
    }
}

#[test]
fn content_of_files_outside_the_clone_is_not_shown() {
    let folder = tempfile::tempdir().expect("folder");
    let (clone, secret) = (folder.path().join("clone"), folder.path().join("secret.yml"));
    fs::create_dir_all(clone.join("template/go")).expect("folder");
    fs::write(clone.join("stack.yml"), "").expect("write");
    let run = Case { base: &clone, clone_dir: Some(&clone), ..Case::default() };
    for content in [
        "hunter2",
        "environment: [hunter2]",
        "environment: {hunter2: [a]}",
        "environment: {a: 1, hunter2: 2, hunter2: 3}",
        "hunter2: [",
        "fprocess: [hunter2]",
    ] {
        fs::write(&secret, content).expect("write");
        std::os::unix::fs::symlink(&secret, clone.join("link.yml"))
            .or_else(|_| fs::metadata(&secret).map(drop))
            .expect("link");
        let _ = std::os::unix::fs::symlink(&secret, clone.join("template/go/template.yml"));
        for name in ["../secret.yml", "link.yml", &secret.display().to_string()] {
            let found = run.read(format!("{HEAD}    environment_file: [{name}]\n    lang: go\n"));
            let problems = lines(&found.expect_err(content));
            assert!(!problems.contains("hunter2"), "{problems}");
        }
    }
    // Not even a file that could be used: a function must not get what the step has outside of the clone.
    fs::write(&secret, "environment: {KEY: value}\n").expect("write");
    let problems = run.problems(format!("{HEAD}    environment_file: [link.yml]\n"));
    assert!(problems.contains("this file is outside the clone directory"), "{problems}");
    // A stack file may be a link too.
    let source = Source {
        name: clone.join("link.yml").display().to_string(),
        text: b"version: ${A}hunter2\nfunctions: {hunter2: {imag: hunter2}}\n---\nhunter2".to_vec(),
        base: clone.clone(),
        url: None,
        clone_dir: Some(clone.clone()),
    };
    let variables = Lookup { value: &|_| None, is_secret: &|_| false };
    let context = Context { variables, folder_digest: &|_| Ok(String::new()), token_fault: &|_| None };
    let problems = lines(&read(&source, &Options::default(), &context).expect_err("problems"));
    assert!(!problems.contains("hunter2"), "{problems}");
    let filter = Options { selector: Some(Selector::Filter("x".to_owned())), ..Options::default() };
    let source = Source { text: b"provider: {name: openfaas}\nfunctions: {hunter2: {}}".to_vec(), ..source };
    assert!(!read(&source, &filter, &context).expect("valid").is_shown);
}
