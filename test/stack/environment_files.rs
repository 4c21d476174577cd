//! Environment files: where they are found, what they contain, and their precedence.

use super::*;

#[test]
fn files_override_the_function_and_earlier_files() {
    let stack = function("    environment: {A: own, B: own}\n    environment_file: [one.yml, sub/two.yml]");
    let pipe = pipe(stack)
        .file("one.yml", "environment:\n  B: one\n  C: one\n")
        .file("sub/two.yml", "environment: {C: two, D: 1.10}\n");
    let merged = json!({"A": "own", "B": "one", "C": "two", "D": "1.10"});
    assert_eq!(check_sent(&pipe, &[body(json!({"envVars": merged}))]), None);
}

#[test]
fn env_vars_override_files() {
    let pipe = pipe(function("    environment_file: [one.yml]"))
        .file("one.yml", "environment: {A: one, B: one}\n")
        .list("ENV_VARS", &["A=given"]);
    assert_eq!(check_sent(&pipe, &[body(json!({"envVars": {"A": "given", "B": "one"}}))]), None);
}

#[test]
fn files_are_not_substituted() {
    let pipe = pipe(function("    environment_file: ['${NAME}.yml']"))
        .var("NAME", "one")
        .file("one.yml", "environment:\n  A: ${NAME}\n  B: $$\n");
    assert_eq!(check_sent(&pipe, &[body(json!({"envVars": {"A": "${NAME}", "B": "$$"}}))]), None);
}

#[test]
fn files_without_an_environment_add_nothing() {
    let pipe = pipe(function("    environment_file: [empty.yml, other.yml, ~]"))
        .file("empty.yml", "")
        .file("other.yml", "other: 1\nenvironment:\n");
    assert_eq!(check_sent(&pipe, &[body(json!({}))]), None);
    pipe.run().says("other.yml:1:1: unknown field `other`: only what is below `environment` is read");
}

#[test]
fn invalid_files_are_rejected_before_any_request() {
    let reads = |path: &str| pipe(function(&format!("    environment_file: [{path}]")));
    all([
        ("missing", check_refused(&reads("none.yml"), "`none.yml` cannot be read")),
        (
            "dotenv",
            check_refused(
                &reads(".env").file(".env", "A=1\nB=2\n"),
                ".env:1:1: the environment file has no `environment`",
            ),
        ),
        (
            "no environment",
            check_refused(
                &reads("a.yml").file("a.yml", "A: 1\nB: two\n"),
                "a.yml:1:1: the environment file has no `environment`, so that nothing in it is read",
            ),
        ),
        (
            "misspelt",
            check_refused(
                &reads("a.yml").file("a.yml", "enviroment:\n  A: 1\n"),
                "the environment file has no `environment`",
            ),
        ),
        (
            "conflict",
            check_refused(
                &reads("a.yml").file("a.yml", "environment:\n<<<<<<< HEAD\n  A: 1\n=======\n  A: 2\n>>>>>>> b\n"),
                "a.yml:2:1: this is a merge conflict of git",
            ),
        ),
        ("twice", check_refused(&reads("a.yml").file("a.yml", "environment: {A: 1, A: 2}\n"), "duplicate key `A`")),
        ("list", check_refused(&reads("a.yml").file("a.yml", "environment: [A=1]\n"), "a.yml:1:")),
        ("folder", check_refused(&reads("a").file("a/b.yml", ""), "`a` is a directory, not a file")),
        ("not UTF-8", check_refused(&reads("a.yml").file("a.yml", b"# \xff\n"), "a.yml:1:3")),
    ]);
    refused([(
        "not a list",
        function("    environment_file: a.yml"),
        "`environment_file` must be a list, not the text `a.yml`",
    )]);
}

#[test]
fn missing_file_of_an_unselected_function_is_ignored() {
    let stack = format!("{HEAD}  g:\n    image: r/g:1\n    environment_file: [none.yml]\n");
    assert_eq!(check_sent(&pipe(stack).var("FILTER", "f"), &[body(json!({}))]), None);
}

#[test]
fn files_outside_the_clone_are_neither_used_nor_printed() {
    let outside = tempfile::tempdir().expect("cannot create directory");
    let secret = outside.path().join("secret");
    std::fs::write(&secret, "hunter2\n").expect("cannot write file");
    let pipe = pipe(function("    environment_file: [link.yml]"));
    std::os::unix::fs::symlink(&secret, pipe.dir().join("link.yml")).expect("cannot create link");
    pipe.run().exits(2).does_not_say("hunter2").says("outside the clone directory");
    let direct = function(&format!("    environment_file: [{}]", secret.display()));
    let pipe =
        Pipe::new().var("OPENFAAS_URL", "https://gw.example.com").var("DRY_RUN", "true").file("stack.yml", direct);
    pipe.run().exits(2).does_not_say("hunter2").says("outside the clone directory");
    std::fs::write(&secret, "environment: {A: hunter2}\n").expect("cannot write file");
    pipe.run().exits(2).does_not_say("hunter2").says("this file is outside the clone directory");
    let folder = self::pipe(function("    environment_file: [shared/secret]"));
    std::os::unix::fs::symlink(outside.path(), folder.dir().join("shared")).expect("cannot create link");
    folder.run().exits(2).does_not_say("hunter2").says("this file is outside the clone directory");
    // A link within the clone is fine.
    let linked = self::pipe(function("    environment_file: [link.yml]")).file("real.yml", "environment: {A: x}\n");
    std::os::unix::fs::symlink("real.yml", linked.dir().join("link.yml")).expect("cannot create link");
    assert_eq!(check_sent(&linked, &[body(json!({"envVars": {"A": "x"}}))]), None);
    std::fs::write(&secret, "hunter2\n").expect("cannot write file");
    // A stack file that links to a file of the step does not show its contents either.
    let pipe = Pipe::new().var("OPENFAAS_URL", "https://gw.example.com").var("DRY_RUN", "true");
    std::os::unix::fs::symlink(&secret, pipe.dir().join("stack.yml")).expect("cannot create link");
    pipe.run().exits(2).does_not_say("hunter2").says("outside the clone directory");
}

#[test]
fn what_is_not_used_of_a_file_is_warned_about() {
    let reads = |text: &str| pipe(function("    environment_file: [a.yml]")).file("a.yml", text);
    for (text, says) in [
        ("environment: {A: 1}\n---\nenvironment: {B: 2}\n", "a.yml:3:1: only the first document is read"),
        ("environment:\n  A: ${NAME}\n", "a.yml:2:6: `${NAME}` is not substituted: only the stack file is"),
        ("environment:\n  A: $NAME\n", "a.yml:2:6: `$NAME` is not substituted"),
        ("environment:\n  A: “x”\n", "a.yml:2:6: this contains the typographic quote `“`"),
        ("", "stack.yml:7:24: this file has no variables"),
        ("# nothing\n", "this file has no variables"),
        ("environment:\n", "this file has no variables"),
    ] {
        reads(text).run().exits(0).says(says);
    }
    for (text, says) in [
        ("environment:\n  A=1:\n", "a.yml:2:3: invalid environment variable name `A=1`"),
        ("environment:\n  '': 1\n", "a.yml:2:3: invalid environment variable name ``: it is empty"),
    ] {
        reads(text).run().exits(2).says(says);
    }
}
