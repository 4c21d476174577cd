//! `STRATEGY`: updates, creates or replaces one function, and finds out what is left of it if that fails.

use tokio::time::{Duration, Instant, sleep};

use crate::commands::concurrent::{Failed, Session, left_by};
use crate::config::{Deploy, Strategy};
use crate::function::FunctionName;
use crate::function::api::{Deployment, Status};
use crate::function::image::is_same_image;
use crate::function::outcome::{Action, Left};
use crate::gateway::provider::{Provider, Reported};
use crate::gateway::statuses::StatusResult;
use crate::gateway::{Creation, Deletion, Error, Repeat, Update};
use crate::http::retry::{self, Attempt};

/// The pause between two looks at a function, or two attempts to create one; it grows to [`PAUSE_MOST`].
const PAUSE: Duration = Duration::from_millis(100);
const PAUSE_MOST: Duration = Duration::from_secs(2);
/// How long a function is looked at after an update without a response: twice as long as the request took, within these limits.
const LOOK_LEAST: Duration = Duration::from_secs(1);
const LOOK_MOST: Duration = Duration::from_secs(300);
/// How long an update takes at least once it has removed the old version.
const REMOVED: Duration = Duration::from_secs(5);

/// A run of the deploy.
#[derive(Clone, Copy)]
pub(super) struct Deployer<'a> {
    pub(super) session: Session<'a>,
    pub(super) deploy: &'a Deploy,
}

/// A function as it is to run: the new version, or the previous one.
pub(super) struct WantedFunction<'a> {
    pub(super) target: &'a FunctionName,
    pub(super) deployment: &'a Deployment,
    /// The version that it replaces, if it was read.
    pub(super) before: Option<&'a StatusResult>,
}

/// Why a function that was deleted was not created again.
enum Uncreated {
    /// The gateway refuses it, or was not available for too long.
    Refused(Error),
    /// When the time was up a function of this name still existed.
    Exists(Error),
    Stopped(Error),
}

impl From<Uncreated> for Error {
    fn from(uncreated: Uncreated) -> Self {
        match uncreated {
            Uncreated::Refused(error) | Uncreated::Exists(error) | Uncreated::Stopped(error) => error,
        }
    }
}

/// The deployment that restores the function as this status reports it.
pub(super) fn redeployment(target: &FunctionName, status: &Status) -> Deployment {
    Deployment { service: target.name.clone(), namespace: target.namespace.clone(), ..status.deployment() }
}

impl Deployer<'_> {
    pub(super) async fn one(&self, wanted: &WantedFunction<'_>) -> Result<Action, Failed> {
        match self.deploy.strategy {
            Strategy::Update => self.update(wanted).await,
            Strategy::Create => self.create(wanted).await,
            Strategy::Replace => self.replace(wanted).await,
        }
    }

    /// As faas-cli does: update, and create only if there is nothing to update.
    async fn update(&self, wanted: &WantedFunction<'_>) -> Result<Action, Failed> {
        match self.update_or_create(wanted).await {
            Ok(action) => Ok(action),
            Err(error) => {
                let left = self.left_by_update(wanted, &error).await;
                Err(Failed { left, ..error.into() })
            }
        }
    }

    async fn update_or_create(&self, wanted: &WantedFunction<'_>) -> Result<Action, Error> {
        match update(&self.session, wanted).await {
            Ok(Update::Accepted) => return Ok(Action::Updated),
            Ok(Update::NotFound) => {}
            Err(error) if error.says_being_deleted() => return self.create_after_removal(wanted).await,
            Err(error) => return Err(error),
        };
        match self.session.gateway.create(wanted.target, wanted.deployment.to_json()).await? {
            Creation::Accepted => Ok(Action::Created),
            Creation::Exists { response_lost: true, .. } if self.is_as_sent(wanted).await => Ok(Action::Created),
            Creation::Exists { error, .. } if error.says_being_deleted() => self.create_after_removal(wanted).await,
            // Created meanwhile, by an earlier attempt or by another pipeline: this deployment has priority.
            Creation::Exists { error, .. } => match update(&self.session, wanted).await? {
                Update::Accepted => Ok(Action::Updated),
                Update::NotFound => Err(Error::Incomplete(error.into())),
            },
        }
    }

    /// Something else is removing the function.
    async fn create_after_removal(&self, wanted: &WantedFunction<'_>) -> Result<Action, Error> {
        tracing::info!("`{}` is being deleted: it is created again when it is gone", wanted.target);
        self.create_again(wanted).await.map(|()| Action::Created).map_err(Error::from)
    }

    /// The state after an update that failed. faasd removes a function before it creates the new version, which then may not
    /// start.
    async fn left_by_update(&self, wanted: &WantedFunction<'_>, error: &Error) -> Left {
        if error.is_unprocessed() || !self.session.gateway.provider().await.may_remove() {
            return left_by(error);
        }
        let before = match wanted.before {
            Some(Ok(Some(before))) => Some(before),
            // What was not there cannot be lost.
            Some(Ok(None)) => {
                let is_there = async || {
                    !matches!(self.session.gateway.get(wanted.target, Repeat::NotAfterTimeout).await, Ok(None))
                };
                let left = left_by(error);
                return if left == Left::Undecided && is_there().await { left } else { Left::Untouched };
            }
            // The gateway was away before the update, and still is.
            Some(Err(before)) if before.says_unavailable() && error.says_unavailable() => return Left::Untouched,
            _ if error.status().is_some_and(|status| status.is_client_error()) => return Left::Untouched,
            _ => None,
        };
        match (self.session.gateway.get(wanted.target, Repeat::NotAfterTimeout).await, before) {
            (Ok(None), Some(_)) => self.restore(wanted).await,
            (Ok(Some(now)), Some(before)) if before.replicas > 0 && now.replicas == 0 => {
                self.revive(wanted, before).await
            }
            (Ok(Some(_)), Some(_)) => Left::Untouched,
            (Ok(Some(_)), None) => left_by(error),
            (Ok(None) | Err(_), _) => Left::Unknown,
        }
    }

    /// Deploys what ran before in the place of a version that does not run, if a rollback is asked for.
    async fn revive(&self, wanted: &WantedFunction<'_>, before: &Status) -> Left {
        if !self.deploy.rollback {
            return Left::Down;
        }
        let deployment = redeployment(wanted.target, before);
        let now = self.session.gateway.get(wanted.target, Repeat::NotAfterTimeout).await;
        let previous = WantedFunction { target: wanted.target, deployment: &deployment, before: Some(&now) };
        match update(&self.session, &previous).await {
            Ok(Update::Accepted) => Left::Restored(before.spec.image.clone()),
            Ok(Update::NotFound) => self.restore(wanted).await,
            Err(_) => Left::Down,
        }
    }

    /// Never changes a function that exists.
    async fn create(&self, wanted: &WantedFunction<'_>) -> Result<Action, Failed> {
        match self.session.gateway.create(wanted.target, wanted.deployment.to_json()).await? {
            Creation::Accepted => Ok(Action::Created),
            Creation::Exists { response_lost: true, .. } if self.is_as_sent(wanted).await => Ok(Action::Created),
            Creation::Exists { error, response_lost } => {
                let left = if response_lost { Left::Undecided } else { Left::Untouched };
                Err(Failed { left, ..error.into() })
            }
        }
    }

    /// True if the gateway reports the function exactly as it was sent: then the attempt whose response was lost created it.
    async fn is_as_sent(&self, wanted: &WantedFunction<'_>) -> bool {
        match self.session.gateway.get(wanted.target, Repeat::Always).await {
            Ok(Some(status)) => {
                let reported = self.reported(wanted.target).await;
                reported.is_complete() && reported.differences(&status, wanted.deployment).is_empty()
            }
            _ => false,
        }
    }

    /// The state after a deletion that may have been carried out, and a creation that failed.
    async fn left_by_deletion(&self, wanted: &WantedFunction<'_>, error: &Error) -> Left {
        match self.session.gateway.get(wanted.target, Repeat::Always).await {
            Ok(None) => self.restore(wanted).await,
            // What is reported may be an old one that is still being deleted.
            Ok(Some(status)) if self.is_image_of(wanted, &status) => left_by(error),
            Ok(Some(_)) => Left::Unknown,
            Err(_) => match self.restore(wanted).await {
                Left::Gone => Left::Unknown,
                left => left,
            },
        }
    }

    fn is_image_of(&self, wanted: &WantedFunction<'_>, status: &Status) -> bool {
        let was_other =
            !matches!(wanted.before, Some(Ok(Some(before))) if is_same_image(&before.spec.image, &status.spec.image));
        was_other && is_same_image(&wanted.deployment.image, &status.spec.image)
    }

    async fn reported(&self, target: &FunctionName) -> Reported {
        self.session.gateway.reported(&[target.namespace.as_deref()].into()).await
    }

    async fn replace(&self, wanted: &WantedFunction<'_>) -> Result<Action, Failed> {
        let unsure = match self.session.gateway.delete(wanted.target).await? {
            Deletion::NotFound => match self.create(wanted).await {
                // Community Edition does not find what something else deletes, nor what has lost its service.
                Err(Failed { error, .. }) if error.says_being_deleted() || error.is_transient() => None,
                Ok(action) => return Ok(action),
                Err(failed) => {
                    // It was there before: something removed it meanwhile, and that may have been this run.
                    let was_there = matches!(wanted.before, Some(Ok(Some(_))));
                    let left = if was_there { self.left_by_deletion(wanted, &failed.error).await } else { failed.left };
                    return Err(Failed { left, ..failed });
                }
            },
            Deletion::Accepted => None,
            Deletion::Unknown(error) => Some(error),
        };
        let uncreated = match self.create_again(wanted).await {
            Ok(()) => return Ok(Action::Replaced),
            Err(uncreated) => uncreated,
        };
        let (error, left) = match (uncreated, unsure) {
            // There is no time left for another request.
            (Uncreated::Stopped(error), _) => (error, Left::Unknown),
            // Nothing says that it was ever deleted.
            (Uncreated::Exists(last), Some(error)) if !last.says_being_deleted() => (error, Left::Untouched),
            (Uncreated::Exists(error), _) if error.says_being_deleted() => (error, Left::Leaving),
            (Uncreated::Exists(error), _) => (error, Left::Unknown),
            (Uncreated::Refused(error), _) => {
                let left = self.left_by_deletion(wanted, &error).await;
                (error, left)
            }
        };
        // What was not there cannot be lost.
        let left = if matches!(wanted.before, Some(Ok(None))) { Left::Untouched } else { left };
        Err(Failed { left, ..error.into() })
    }

    /// Creates a function that is being deleted as soon as it is gone, even if its status cannot be read in between.
    async fn create_again(&self, wanted: &WantedFunction<'_>) -> Result<(), Uncreated> {
        // Of a gateway that was never there, no request can have been carried out that is worth waiting for.
        let limit = if self.session.gateway.is_down() { Duration::ZERO } else { self.deploy.wait_timeout };
        let deadline = Instant::now() + limit;
        let mut pause = PAUSE;
        let mut last = None;
        let mut may_look = true;
        let mut is_stopping = false;
        loop {
            let look = async {
                match self.session.gateway.get(wanted.target, Repeat::Always).await {
                    Ok(status) => (status.is_some(), true),
                    // Not every Policy permits it; then the creation shows whether the function is gone.
                    Err(error) => (false, !error.is_forbidden()),
                }
            };
            let mut is_there = false;
            if may_look && !is_stopping {
                tokio::select! {
                    (seen, permitted) = look => (is_there, may_look) = (seen, permitted),
                    // A look that hangs must not cost the last request.
                    () = self.session.shutdown.grace_ending() => is_stopping = true,
                }
            }
            let is_last = is_stopping || Instant::now() >= deadline;
            if !is_there || is_last {
                match self.session.gateway.create(wanted.target, wanted.deployment.to_json()).await {
                    Ok(Creation::Accepted) => return Ok(()),
                    Ok(Creation::Exists { response_lost, error }) => {
                        if response_lost && (self.is_as_sent(wanted).await || self.is_taken_over(wanted, &error).await)
                        {
                            return Ok(());
                        }
                        last = Some(Uncreated::Exists(error));
                    }
                    Err(error @ Error::Stopped(_)) => return Err(Uncreated::Stopped(error)),
                    Err(error) if error.is_transient() => last = Some(Uncreated::Refused(error)),
                    Err(error) => return Err(Uncreated::Refused(error)),
                }
            }
            if is_last && let Some(last) = last {
                return Err(if is_stopping { Uncreated::Stopped(last.into()) } else { last });
            }
            tokio::select! {
                () = sleep(pause.min(deadline.saturating_duration_since(Instant::now()))) => {}
                // Not at the signal: what was deleted is created again while there is time, the last time shortly before its end,
                // whatever the looks say.
                () = self.session.shutdown.grace_ending() => is_stopping = true,
            }
            pause = (pause * 2).min(PAUSE_MOST);
        }
    }

    /// Updates a function that an earlier attempt may have created. Only if the provider distinguishes a new one from an old
    /// one that is still being deleted: the update of an old one would be lost with it.
    async fn is_taken_over(&self, wanted: &WantedFunction<'_>, exists: &Error) -> bool {
        let is_new = !exists.says_being_deleted()
            && matches!(self.session.gateway.provider().await, Provider::CommunityEdition | Provider::Faasd);
        is_new && matches!(update(&self.session, wanted).await, Ok(Update::Accepted))
    }

    /// Deploys what ran before a function was removed, if all of it is known.
    async fn restore(&self, wanted: &WantedFunction<'_>) -> Left {
        let Some(Ok(Some(status))) = wanted.before else { return Left::Gone };
        // As documented: only `WAIT`, which `ROLLBACK` needs, looks it up to be restored.
        if self.deploy.wait.is_none() || !self.reported(wanted.target).await.is_complete() {
            return Left::Gone;
        }
        let previous = redeployment(wanted.target, status).to_json();
        match self.session.gateway.create(wanted.target, previous).await {
            Ok(Creation::Accepted) => Left::Restored(status.spec.image.clone()),
            Ok(Creation::Exists { error, .. }) if error.says_being_deleted() => Left::Leaving,
            Ok(Creation::Exists { .. }) => Left::Untouched,
            Err(error) if error.may_be_under_way() => Left::Unknown,
            Err(_) => Left::Gone,
        }
    }
}

/// The outcome of an update without a response.
enum Seen {
    /// It was carried out.
    Done,
    /// Nothing, or nothing yet.
    NotDone,
    /// The gateway does not say.
    Unknown,
}

/// Sends an update until its response is final, or the retries are used up. faasd goes on with an update whose client has left: one
/// that got no response is not sent again before it is known what became of it.
pub(super) async fn update(session: &Session<'_>, wanted: &WantedFunction<'_>) -> Result<Update, Error> {
    let Session { gateway, .. } = session;
    let attempt = async |number| {
        let sent = Instant::now();
        let result = gateway.update(wanted.target, wanted.deployment.to_json()).await;
        let error = match &result {
            Err(error) if error.may_be_under_way() && gateway.provider().await.may_remove() => error,
            _ => return Attempt { result, retry: None },
        };
        match outcome(session, wanted, error, sent.elapsed()).await {
            Seen::Done => Attempt { result: Ok(Update::Accepted), retry: None },
            Seen::Unknown => Attempt { result, retry: None },
            Seen::NotDone => {
                let retry = Some((retry::backoff(number), error.to_string()));
                Attempt { result, retry }
            }
        }
    };
    gateway.retries.run(attempt).await
}

/// Looks at the function until the update was carried out, or for so long that it is not under way any more. `took` is how long
/// the request took.
async fn outcome(session: &Session<'_>, wanted: &WantedFunction<'_>, error: &Error, took: Duration) -> Seen {
    let before = match wanted.before {
        Some(Ok(before)) => before,
        // Neither now nor before: the gateway hangs.
        _ if error.has_timed_out() => return Seen::Unknown,
        _ => return Seen::NotDone,
    };
    let mut deadline = Instant::now() + (2 * took).clamp(LOOK_LEAST, LOOK_MOST);
    let mut pause = PAUSE;
    let mut was_changed = false;
    tracing::info!(
        "`{}`: no response to the update, which may still be under way: looking at the function",
        wanted.target
    );
    loop {
        let seen = match session.gateway.get(wanted.target, Repeat::NotAfterTimeout).await {
            Ok(Some(status)) if is_done(wanted, before.as_ref(), &status) => return Seen::Done,
            Ok(status) => {
                let is_changed = !is_unchanged(before.as_ref(), status.as_ref());
                if is_changed && !was_changed {
                    deadline = deadline.max(Instant::now() + REMOVED);
                }
                was_changed |= is_changed;
                Seen::NotDone
            }
            // A gateway that hangs would hold up the run.
            Err(error) if error.has_timed_out() => return Seen::Unknown,
            Err(_) => Seen::Unknown,
        };
        if Instant::now() >= deadline {
            return seen;
        }
        tokio::select! {
            () = sleep(pause) => {}
            _ = session.shutdown.grace_over() => return seen,
        }
        pause = (pause * 2).min(PAUSE_MOST);
    }
}

/// True if a function runs the new version: faasd creates it anew with each update.
fn is_done(wanted: &WantedFunction<'_>, before: Option<&Status>, now: &Status) -> bool {
    let is_new = before.is_none_or(|before| before.created_at != now.created_at);
    is_new && now.replicas > 0 && is_same_image(&now.spec.image, &wanted.deployment.image)
}

/// True if a function is the one that ran before, as far as that is reported.
fn is_unchanged(before: Option<&Status>, now: Option<&Status>) -> bool {
    match (before, now) {
        (None, None) => true,
        (Some(before), Some(now)) => before.created_at == now.created_at && (before.replicas > 0) == (now.replicas > 0),
        _ => false,
    }
}
