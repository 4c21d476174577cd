//! `docs/troubleshooting.md`: each symptom is what the pipe logs, and the remedies are those of its hints.

use std::time::Duration;

use local_cloud::{Cloud, Image};
use local_gateway::{Fault, Flavour, Gateway, Ready};

use crate::support::{
    GUIDE_STACK, Pipe, edition, guide, issuer, one_audience, open, permissive, permitting, put, stack, stack_of, start,
    step_in,
};

const PAGE: &str = include_str!("../docs/troubleshooting.md");

/// A deploy of one function at a gateway that permits everything.
fn deploy(change: impl FnOnce(&Gateway, Pipe) -> Pipe) -> String {
    let gateway = open();
    change(&gateway, Pipe::at(&gateway).stack(&stack(&["resize"], "1")).var("RETRIES", "0")).run().log
}

/// A deploy of the guide's function at a gateway with the guide's resources.
fn guided(change: impl FnOnce(&Gateway, Pipe) -> Pipe) -> String {
    let gateway = guide(&issuer());
    change(&gateway, Pipe::at(&gateway).stack(GUIDE_STACK).var("RETRIES", "0")).run().log
}

fn community(change: impl FnOnce(&Gateway, Pipe) -> Pipe) -> String {
    let gateway = start(edition(Flavour::Ce));
    change(&gateway, Pipe::with_password(&gateway).stack(&stack(&["resize"], "1"))).run().log
}

/// A request that fails with this.
fn fault(fault: Fault) -> String {
    deploy(|gateway, pipe| {
        gateway.fault(fault);
        pipe
    })
}

fn invoke(change: impl FnOnce(&Gateway, Pipe) -> Pipe) -> String {
    deploy(|gateway, pipe| {
        put(gateway, "openfaas-fn", "echo");
        change(gateway, pipe.var("COMMAND", "invoke").var("FUNCTION", "echo").var("PAYLOAD", "x"))
    })
}

fn waiting(ready: Ready, timeout: &str) -> String {
    let gateway = start(permissive().ready(ready));
    let pipe = Pipe::at(&gateway).stack(&stack(&["resize"], "1")).var("WAIT", "true");
    pipe.var("WAIT_TIMEOUT", timeout).run().log
}

fn image(image: &str) -> String {
    let (cloud, gateway) = (Cloud::start().expect("cannot start cloud"), one_audience());
    cloud.registry("ghcr.io").put_image("acme/resize", "1", &Image::oci("linux/amd64"));
    step_in(&cloud, &gateway).stack(&stack_of(&[image])).var("PIN_IMAGES", "true").run().log
}

/// The log for each symptom, in the order of the page.
fn scenarios() -> Vec<(&'static str, String)> {
    let with_token = |pipe: Pipe, token| pipe.var("BITBUCKET_STEP_OIDC_TOKEN", token);
    vec![
        // Variables and the stack file.
        ("list", deploy(|_, pipe| pipe.list("FILTER", &["a-*", "b-*"]))),
        ("one text", deploy(|_, pipe| pipe.var("ENV_VARS", "A=1,B=2"))),
        ("blank", deploy(|_, pipe| pipe.var("OPENFAAS_URL", ""))),
        ("unexpanded", deploy(|_, pipe| pipe.var("OPENFAAS_URL", "$GATEWAY"))),
        ("misspelt", deploy(|_, pipe| pipe.var("STACK_FLIE", "a.yml"))),
        ("no file", deploy(|_, pipe| pipe.var("STACK_FILE", "deploy/stack.yml"))),
        (
            "unset",
            deploy(|_, pipe| pipe.stack("provider: {name: openfaas}\nfunctions:\n  f:\n    image: acme/f:${TAG}\n")),
        ),
        ("filter", deploy(|_, pipe| pipe.var("FILTER", "nothing-*"))),
        ("output", invoke(|_, pipe| pipe.var("OUTPUT_FILE", "/answer.txt"))),
        // Access.
        ("oidc", guided(|_, pipe| pipe.without("BITBUCKET_STEP_OIDC_TOKEN"))),
        ("audience", guided(|_, pipe| with_token(pipe, issuer().token().mint()))),
        ("issuer", {
            let gateway = guide(&issuer());
            let token = local_gateway::Issuer::bitbucket("other").token().audience(gateway.public_url()).mint();
            with_token(Pipe::at(&gateway).stack(GUIDE_STACK), token).run().log
        }),
        (
            "role",
            guided(|gateway, pipe| {
                with_token(pipe, issuer().token().audience(gateway.public_url()).branch("feature").mint())
            }),
        ),
        ("policy", {
            let gateway = start(permitting(&["Function:Create"]));
            Pipe::at(&gateway).stack(&stack(&["resize"], "1")).run().log
        }),
        ("no iam", {
            let gateway = start(edition(Flavour::Ce));
            let token = issuer().token().audience(gateway.public_url()).mint();
            with_token(Pipe::at(&gateway).stack(&stack(&["resize"], "1")), token).run().log
        }),
        ("password", community(|_, pipe| pipe.var("OPENFAAS_PASSWORD", "another password"))),
        // The way to the gateway.
        ("refused", deploy(|_, pipe| pipe.var("OPENFAAS_URL", "http://127.0.0.1:1"))),
        ("certificate", {
            let gateway = start(permissive().tls());
            Pipe::at(&gateway)
                .stack(&stack(&["resize"], "1"))
                .var("OPENFAAS_URL", gateway.url())
                .var("RETRIES", "0")
                .run()
                .log
        }),
        ("web page", fault(Fault::any().web_page(200))),
        ("sign-in", fault(Fault::any().redirect(302, "https://login.example.com/start"))),
        ("503", fault(Fault::on("PUT", "/system/functions").status(503).body("upstream connect error"))),
        (
            "413",
            invoke(|gateway, pipe| {
                gateway.fault(Fault::on("POST", "/function/").web_page(413));
                pipe
            }),
        ),
        (
            "timeout",
            invoke(|gateway, pipe| {
                gateway.fault(Fault::on("POST", "/function/").delay_answer(Duration::from_secs(3)));
                pipe.var("TIMEOUT", "500ms")
            }),
        ),
        // What the provider refuses.
        ("secret", fault(Fault::on("PUT", "/system/functions").status(400).body("unable to find secret: db-password"))),
        ("namespace", {
            let gateway = start(permissive().namespaces(&["openfaas-fn"]));
            Pipe::at(&gateway).stack(&stack(&["resize"], "1")).var("OPENFAAS_NAMESPACE", "preview-7").run().log
        }),
        (
            "create",
            deploy(|gateway, pipe| {
                put(gateway, "openfaas-fn", "resize");
                pipe.var("STRATEGY", "create")
            }),
        ),
        (
            "rollback",
            community(|gateway, pipe| {
                put(gateway, "openfaas-fn", "resize");
                pipe.var("WAIT", "true").var("ROLLBACK", "true")
            }),
        ),
        // Images.
        ("no image", image("ghcr.io/acme/resize:2")),
        ("no access", image("ghcr.io/other/private:1")),
        // After the deploy.
        ("not ready", waiting(Ready::Never, "300ms")),
        (
            "verify",
            deploy(|gateway, pipe| {
                gateway.fault(Fault::on("GET", "/function/resize").status(500).body("broken"));
                pipe.var("VERIFY", "resize/healthz")
            }),
        ),
        ("no function", invoke(|_, pipe| pipe.var("FUNCTION", "resise"))),
    ]
}

#[test]
fn every_symptom_of_the_page_is_what_the_pipe_logs() {
    let symptoms: Vec<&str> = PAGE.lines().filter_map(|line| line.strip_prefix("### ")).collect();
    let scenarios = scenarios();
    assert_eq!(symptoms.len(), scenarios.len());
    for (symptom, (name, log)) in symptoms.iter().zip(&scenarios) {
        // A heading may leave out what differs: `…`.
        let mut rest = log.as_str();
        let symptom = symptom.trim_matches('`').trim();
        for part in symptom.split('…').map(str::trim) {
            let at = rest.find(part).unwrap_or_else(|| panic!("{name}: `{part}` is not in\n{log}"));
            rest = &rest[at + part.len()..];
        }
    }
}
