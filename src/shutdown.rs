//! Being stopped: SIGTERM and SIGINT, as Bitbucket sends them when a pipeline is stopped or its time is up.

use std::future::pending;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::function::outcome::{Failure, Problem};

/// How long requests under way may take to finish once a stop is asked for.
const GRACE: Duration = Duration::from_secs(5);

/// How long everything else may take after that, such as the result files: ten seconds after it is told to stop, a
/// container is killed.
const LEEWAY: Duration = Duration::from_secs(4);

/// The signal that stopped a run.
pub(crate) fn signal_name(failure: Failure) -> &'static str {
    if failure == Failure::Interrupted { "SIGINT" } else { "SIGTERM" }
}

#[derive(Clone, Copy, Default)]
struct State {
    reason: Option<Failure>,
    /// When what is under way has had its time.
    deadline: Option<Instant>,
    again: bool,
}

/// Tells whether the run is to stop.
#[derive(Clone)]
pub(crate) struct Stop(watch::Receiver<State>);

impl Stop {
    /// Takes the two signals over from now on; needs a runtime.
    pub(crate) fn listen() -> std::io::Result<Self> {
        let (sender, receiver) = watch::channel(State::default());
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        tokio::spawn(async move {
            loop {
                let reason = tokio::select! {
                    Some(()) = terminate.recv() => Failure::Terminated,
                    Some(()) = interrupt.recv() => Failure::Interrupted,
                    else => break,
                };
                if sender.borrow().reason.is_some() {
                    sender.send_modify(|state| state.again = true);
                    continue;
                }
                // Said first, since the run may end as soon as it knows.
                tracing::warn!(
                    "{} received: nothing new is started, what is under way has {} s to finish",
                    signal_name(reason),
                    GRACE.as_secs()
                );
                sender.send_modify(|state| {
                    state.reason = Some(reason);
                    state.deadline = Some(Instant::now() + GRACE);
                });
            }
        });
        Ok(Self(receiver))
    }

    /// Why the run is to stop, where it is.
    pub(crate) fn requested(&self) -> Option<Failure> {
        self.0.borrow().reason
    }

    /// That the run is to stop, as its problem.
    pub(crate) fn problem(&self) -> Option<Problem> {
        let failure = self.requested()?;
        Some(Problem { failure, message: format!("stopped by {}", signal_name(failure)), hint: None })
    }

    /// Ends when the run is to stop.
    pub(crate) async fn wait(&self) -> Failure {
        self.until(|state| state.reason.is_some()).await.reason.unwrap_or(Failure::Terminated)
    }

    /// Ends when what is under way has had its time.
    pub(crate) async fn grace_over(&self) -> Failure {
        let failure = self.wait().await;
        // Measured from the signal, not from when somebody began to wait here.
        let deadline = self.0.borrow().deadline;
        if let Some(deadline) = deadline {
            tokio::time::sleep_until(deadline).await;
        }
        failure
    }

    /// Ends when the run is to end whatever it is at: a stop was asked for twice, or long ago.
    pub(crate) async fn at_once(&self) -> Failure {
        let late = async {
            let failure = self.grace_over().await;
            tokio::time::sleep(LEEWAY).await;
            failure
        };
        tokio::select! {
            state = self.until(|state| state.again) => state.reason.unwrap_or(Failure::Terminated),
            failure = late => failure,
        }
    }

    async fn until(&self, reached: impl Fn(&State) -> bool) -> State {
        let mut receiver = self.0.clone();
        match receiver.wait_for(|state| reached(state)).await {
            Ok(state) => *state,
            // Nobody is listening for signals any more: none will come.
            Err(_) => pending().await,
        }
    }
}
