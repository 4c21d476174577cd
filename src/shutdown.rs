//! Shutdown on SIGTERM and SIGINT, which Bitbucket sends when a pipeline is stopped or its time is up.

use std::future::pending;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::diagnostic::{Diagnostic, Failure};

/// How long requests in flight have to finish after the first signal.
const GRACE: Duration = Duration::from_secs(5);

/// How long before the end of the grace period the last request is sent.
const LAST_REQUEST: Duration = Duration::from_secs(1);

/// How long everything else has after that, such as the result files. A container is killed ten seconds after the signal.
const LEEWAY: Duration = Duration::from_secs(4);

pub(crate) fn signal_name(failure: Failure) -> &'static str {
    if failure == Failure::Interrupted { "SIGINT" } else { "SIGTERM" }
}

#[derive(Clone, Copy)]
struct Signal {
    failure: Failure,
    /// When the grace period ends. Measured from the signal, not from when a task begins to wait for it.
    deadline: Instant,
    is_repeated: bool,
}

/// The request to shut down, once there is one.
#[derive(Clone)]
pub(crate) struct Shutdown(watch::Receiver<Option<Signal>>);

impl Shutdown {
    /// One that is never requested.
    #[cfg(test)]
    pub(crate) fn none() -> Self {
        Self(watch::channel(None).1)
    }

    /// Handles the two signals from now on; needs a runtime.
    pub(crate) fn listen() -> std::io::Result<Self> {
        let (sender, receiver) = watch::channel(None);
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        tokio::spawn(async move {
            loop {
                let failure = tokio::select! {
                    Some(()) = terminate.recv() => Failure::Terminated,
                    Some(()) = interrupt.recv() => Failure::Interrupted,
                    else => break,
                };
                let received: Option<Signal> = *sender.borrow();
                let signal = match received {
                    Some(first) => Signal { is_repeated: true, ..first },
                    None => {
                        let (name, grace) = (signal_name(failure), GRACE.as_secs());
                        // Logged first, since the run may end as soon as the signal is sent on.
                        tracing::warn!(
                            "{name} received: nothing new is started, requests in flight have {grace} s to finish"
                        );
                        Signal { failure, deadline: Instant::now() + GRACE, is_repeated: false }
                    }
                };
                sender.send_replace(Some(signal));
            }
        });
        Ok(Self(receiver))
    }

    /// The signal that was received, if there was one.
    pub(crate) fn requested(&self) -> Option<Failure> {
        self.0.borrow().map(|signal| signal.failure)
    }

    /// The shutdown as the problem of the run.
    pub(crate) fn problem(&self) -> Option<Diagnostic> {
        let failure = self.requested()?;
        Some(Diagnostic::new(failure, format!("stopped by {}", signal_name(failure))))
    }

    /// Waits for a signal.
    pub(crate) async fn wait(&self) -> Failure {
        self.received(|_| true).await.failure
    }

    /// Waits until the grace period after a signal is over.
    pub(crate) async fn grace_over(&self) -> Failure {
        self.past(|deadline| deadline).await
    }

    /// Waits until there is time for one more request before the grace period after a signal is over.
    pub(crate) async fn grace_ending(&self) {
        self.past(|deadline| deadline - LAST_REQUEST).await;
    }

    /// Waits until the process has to exit, whatever it is doing: after a second signal, or long after the first one.
    pub(crate) async fn forced(&self) -> Failure {
        tokio::select! {
            signal = self.received(|signal| signal.is_repeated) => signal.failure,
            failure = self.past(|deadline| deadline + LEEWAY) => failure,
        }
    }

    /// Waits for a signal, and then until a time before or after its deadline.
    async fn past(&self, time: impl Fn(Instant) -> Instant) -> Failure {
        let signal = self.received(|_| true).await;
        sleep_until(time(signal.deadline)).await;
        signal.failure
    }

    async fn received(&self, matches: impl Fn(&Signal) -> bool) -> Signal {
        let mut receiver = self.0.clone();
        let received =
            receiver.wait_for(|signal| signal.as_ref().is_some_and(&matches)).await.ok().and_then(|signal| *signal);
        match received {
            Some(signal) => signal,
            // The task that listens has ended: no signal will be received any more.
            None => pending().await,
        }
    }
}
