//! Who gets credentials: the gateway in `OPENFAAS_URL` is trusted, the one in the stack file is not.

use local_gateway::{Fault, Gateway};

use crate::support::{GUIDE_STACK, Pipe, guide, issuer, open, permissive, start};

const COMMANDS: [&str; 4] = ["deploy", "diff", "remove", "whoami"];

/// The stack file of the guide with another gateway.
fn stack_naming(gateway: &str) -> String {
    let lines = GUIDE_STACK.lines().map(|line| match line.trim_start().starts_with("gateway:") {
        true => format!("  gateway: {gateway}\n"),
        false => format!("{line}\n"),
    });
    lines.collect()
}

/// A step with a token for `audience`. Only the stack file names the gateway.
fn step(stack_gateway: &str, audience: &str) -> Pipe {
    let token = issuer().token().audience(audience).mint();
    Pipe::new().stack(&stack_naming(stack_gateway)).var("BITBUCKET_STEP_OIDC_TOKEN", token)
}

#[test]
fn gateway_of_the_stack_file_gets_a_token_with_its_audience() {
    let gateway = guide(&issuer());
    for (named, audience) in [(String::new(), ""), ("/".to_owned(), "/"), ("/".to_owned(), "")] {
        let pipe = step(&format!("{}{named}", gateway.url()), &format!("{}{audience}", gateway.url()));
        let ran = pipe.run();
        // The gateway compares the audience exactly.
        assert_eq!(ran.code, if audience.is_empty() { 0 } else { 3 }, "{}", ran.log);
    }
}

#[test]
fn gateway_of_the_stack_file_gets_no_token_with_another_audience() {
    let gateway = open();
    let port = gateway.url().rsplit(':').next().expect("missing port").to_owned();
    for audience in [
        "https://gw.example.com".to_owned(),
        format!("https://127.0.0.1:{port}"),
        format!("http://localhost:{port}"),
        "http://127.0.0.1".to_owned(),
        format!("{}/base", gateway.url()),
        format!("{}?x", gateway.url()),
        format!("http://user@127.0.0.1:{port}"),
        gateway.url().trim_start_matches("http://").to_owned(),
    ] {
        for command in COMMANDS {
            let ran = step(gateway.url(), &audience).var("COMMAND", command).run().exits(2);
            ran.says("OPENFAAS_URL:\n- is not set, and the step's token is not sent to `http://127.0.0.1:")
                .says("set `OPENFAAS_URL` to the gateway's address");
        }
    }
    for command in COMMANDS {
        let pipe = step(gateway.url(), gateway.url()).without("BITBUCKET_STEP_OIDC_TOKEN").var("COMMAND", command);
        pipe.run().exits(2).says("OPENFAAS_URL:\n- is not set, and without an ID token");
        pipe.var("OPENFAAS_URL", " ").run().exits(2).says("OPENFAAS_URL:\n- is not set, and without an ID token");
    }
    assert!(gateway.requests().is_empty());
}

#[test]
fn gateway_of_the_stack_file_gets_no_password() {
    let gateway = start(permissive().basic_auth("admin", "s3cr3t-password"));
    for command in COMMANDS {
        // The token would be meant for this gateway.
        let pipe = step(gateway.url(), gateway.url()).var("OPENFAAS_PASSWORD", "s3cr3t-password");
        pipe.var("COMMAND", command)
            .run()
            .exits(2)
            .says("`OPENFAAS_PASSWORD` is never sent to a gateway that only the ");
    }
    assert!(gateway.requests().is_empty());
}

#[test]
fn substituted_host_of_the_stack_file_gateway_is_not_printed() {
    let secret = "s3cr3t".repeat(20);
    let pipe = step("https://${DATABASE_PASSWORD}.example.com", "https://gw.example.com");
    let ran = pipe.var("DATABASE_PASSWORD", &secret).run().exits(2);
    ran.says("the step's token is not sent to `<").does_not_say("s3cr3t");
}

#[test]
fn stack_file_from_a_url_cannot_name_the_gateway() {
    let gateway = start(Gateway::builder().guide(&issuer()).tls());
    let serve = || {
        let stack = stack_naming(gateway.url());
        gateway.fault(Fault::on("GET", "/stack.yml").status(200).body(stack));
    };
    for command in COMMANDS {
        serve();
        let pipe = step("", gateway.url()).var("CA_CERT", gateway.ca_pem()).var("COMMAND", command);
        let ran = pipe.var("STACK_FILE", format!("{}/stack.yml", gateway.url())).run().exits(2);
        ran.says("OPENFAAS_URL:\n- is not set, and a stack file from a URL cannot name the gateway");
    }
    assert!(gateway.requests().iter().all(|request| request.path == "/stack.yml"));
}
