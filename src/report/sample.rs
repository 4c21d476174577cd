//! Sample runs for the tests.

use std::time::Duration;

use crate::diagnostic::{Diagnostic, Failure};
use crate::function::Command;
use crate::function::FunctionName;
use crate::function::outcome::{Action, FunctionOutcome, InvocationOutcome, Left, Location, Outcome, Replicas};

const STACK_FILE: &str = "./deploy/stack.yaml";

fn place(line: usize) -> Option<Location> {
    Some(Location { file: STACK_FILE.into(), line })
}

/// A function that was updated.
pub(crate) fn function(name: &str) -> FunctionOutcome {
    FunctionOutcome {
        function: FunctionName::new(name, None::<String>),
        image: Some(format!("ghcr.io/acme/{name}:1")),
        digest: None,
        action: Action::Updated,
        problem: None,
        duration: Duration::from_millis(120),
        url: format!("https://gateway.example.com/function/{name}"),
        place: None,
        ready: None,
        left: Left::Untouched,
        replicas: None,
    }
}

pub(crate) fn problem(failure: Failure, message: &str, hint: Option<&str>) -> Diagnostic {
    Diagnostic { hint: hint.map(str::to_owned), ..Diagnostic::new(failure, message) }
}

fn run(command: Command, functions: Vec<FunctionOutcome>) -> Outcome {
    Outcome {
        command,
        gateway: "https://gateway.example.com".to_owned(),
        stack_files: vec![STACK_FILE.into()],
        functions,
        namespaces: Vec::new(),
        secrets: Vec::new(),
        calls: Vec::new(),
        invocation: None,
        problem: None,
        duration: Duration::from_millis(1500),
    }
}

/// A deploy of four functions: one deployed, one not ready, one refused, one not started.
pub(crate) fn deploy() -> Outcome {
    let hello = FunctionOutcome { place: place(5), ..function("hello") };
    let late = FunctionOutcome {
        function: FunctionName::new("late", Some("staging")),
        place: place(9),
        action: Action::Created,
        ready: Some(false),
        left: Left::Untouched,
        replicas: Some(Replicas { desired: 2, available: 0 }),
        problem: Some(problem(Failure::NotReady, "no replica after 5m", None)),
        ..function("late")
    };
    let refused = FunctionOutcome {
        place: place(13),
        action: Action::Failed,
        problem: Some(problem(
            Failure::Permission,
            "the gateway said `no <way>`",
            Some("add `Function:Create` to the Policy"),
        )),
        ..function("refused")
    };
    let waiting = FunctionOutcome { action: Action::NotStarted, duration: Duration::ZERO, ..function("waiting") };
    run(Command::Deploy, vec![hello, late, refused, waiting])
}

/// An invocation that was answered.
pub(crate) fn invoke() -> Outcome {
    Outcome {
        stack_files: Vec::new(),
        invocation: Some(InvocationOutcome {
            function: FunctionName::new("hello", Some("staging")),
            sent: true,
            status: Some(200),
            call_id: Some("0b2f8a7e-5a3c".to_owned()),
            asynchronous: false,
            response_bytes: 42,
            function_seconds: Some(0.25),
            problem: None,
            duration: Duration::from_millis(300),
        }),
        ..run(Command::Invoke, Vec::new())
    }
}

/// A deploy that got no token.
pub(crate) fn refused() -> Outcome {
    Outcome {
        problem: Some(problem(Failure::Permission, "the token was refused", None)),
        ..run(Command::Deploy, Vec::new())
    }
}

/// A deploy of many functions, of which the first ones failed.
pub(crate) fn failing(failed: usize, all: usize) -> Outcome {
    let mut outcome = run(Command::Deploy, (0..all).map(|number| function(&format!("function-{number}"))).collect());
    for (number, function) in outcome.functions.iter_mut().take(failed).enumerate() {
        function.action = Action::Failed;
        function.place = place(number + 1);
        function.problem = Some(problem(Failure::Failed, &"é".repeat(5000), Some("try again")));
    }
    outcome
}
