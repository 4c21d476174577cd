//! The program: its output is sufficient to try out the pipe by hand.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use crate::common::client;

/// A running program and the lines that it printed. Dropping it stops the program.
struct Program(Child, Vec<String>);

impl Program {
    fn start(arguments: &[&str], lines: usize) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_local-gateway"));
        let mut child = command.args(arguments).stdout(Stdio::piped()).spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let printed = out.lines().take(lines).map(Result::unwrap).collect();
        Self(child, printed)
    }

    fn value(&self, name: &str) -> &str {
        self.1.iter().find_map(|line| line.strip_prefix(name)).unwrap().trim()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

#[tokio::test]
async fn printed_token_is_exchanged_at_the_printed_url() {
    let program = Program::start(&["--listen", "127.0.0.1:0", "--host-name", "gateway"], 5);
    let exchange = [
        ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
        ("subject_token_type", "urn:ietf:params:oauth:token-type:id_token"),
        ("subject_token", program.value("token")),
    ];
    let gateway = local_gateway::Gateway::builder().start().unwrap();
    let url = format!("{}/oauth/token", program.value("gateway"));
    let answer = client(&gateway).post(url).form(&exchange).send().await.unwrap();
    assert_eq!(answer.status(), 200, "{}", answer.text().await.unwrap());
    assert!(program.value("audience").starts_with("http://gateway:"));
}

#[test]
fn ca_and_token_are_written_to_files() {
    let folder = std::env::temp_dir().join(format!("local-gateway-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let (ca, token) = (folder.join("ca.pem"), folder.join("token"));
    let files = ["--ca-file", ca.to_str().unwrap(), "--token-file", token.to_str().unwrap()];
    let program = Program::start(&[&["--listen", "127.0.0.1:0", "--tls"][..], &files[..]].concat(), 6);
    assert!(program.value("gateway").starts_with("https://127.0.0.1:"));
    assert!(std::fs::read_to_string(&ca).unwrap().starts_with("-----BEGIN CERTIFICATE-----"));
    assert_eq!(std::fs::read_to_string(&token).unwrap().split('.').count(), 3);
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn invalid_argument_is_reported() {
    for (arguments, message) in [
        (&["--nonsense"][..], "local-gateway: invalid option '--nonsense'\n"),
        (
            &["--ready-after", "soon"][..],
            "local-gateway: cannot parse argument \"soon\": write a duration such as 5s\n",
        ),
        (&["--surplus", "40"][..], "local-gateway: cannot parse argument \"40\": write a duration such as 5s\n"),
        (&["--listen", "127.0.0.1:0", "--iam", "/nowhere"][..], "local-gateway: `/nowhere`: No such file or directory"),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_local-gateway")).args(arguments).output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(stderr.starts_with(message), "{stderr}");
        assert_eq!(output.status.code(), Some(1));
    }
}

#[tokio::test]
async fn surplus_is_an_option() {
    let program = Program::start(&["--listen", "127.0.0.1:0", "--flavour", "ce", "--surplus", "1h"], 4);
    let gateway = local_gateway::Gateway::builder().start().unwrap();
    let (user, password) = (program.value("user"), Some(program.value("password")));
    let request = |method: reqwest::Method, path: &str| {
        let url = format!("{}/system/{path}", program.value("gateway"));
        client(&gateway).request(method, url).basic_auth(user, password)
    };
    let function = serde_json::json!({"service": "f", "image": "f", "labels": {}, "annotations": {}});
    for method in [reqwest::Method::POST, reqwest::Method::PUT] {
        assert_eq!(request(method, "functions").json(&function).send().await.unwrap().status(), 202);
    }
    let status: serde_json::Value =
        request(reqwest::Method::GET, "function/f").send().await.unwrap().json().await.unwrap();
    assert_eq!((&status["replicas"], &status["availableReplicas"]), (&1.into(), &2.into()));
}

#[tokio::test]
async fn flavour_ce_is_community_edition() {
    let program = Program::start(&["--listen", "127.0.0.1:0", "--flavour", "ce"], 4);
    let gateway = local_gateway::Gateway::builder().start().unwrap();
    let url = format!("{}/system/info", program.value("gateway"));
    let info = client(&gateway).get(url).basic_auth(program.value("user"), Some(program.value("password")));
    assert!(info.send().await.unwrap().text().await.unwrap().contains("\"faas-netes-ce\""));
}
