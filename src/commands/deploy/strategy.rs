//! `STRATEGY`: updates, creates or replaces one function, and finds out what is left of it if that fails.

use bytes::Bytes;
use tokio::time::{Duration, Instant};

use super::rollback::redeployment;
use super::update::{UpdateRequest, update};
use crate::commands::concurrent::Failed;
use crate::commands::concurrent::Session;
use crate::config::Strategy;
use crate::function::FunctionName;
use crate::function::api::{Deployment, Status};
use crate::function::image::is_same_image;
use crate::function::outcome::{Action, Left};
use crate::gateway::provider::{Provider, Reported};
use crate::gateway::statuses::StatusResult;
use crate::gateway::{Creation, Deletion, Error, Repeat, Update};

/// The pause between two attempts to create a function that is being deleted; it grows to [`PAUSE_MOST`].
const PAUSE: Duration = Duration::from_millis(100);
const PAUSE_MOST: Duration = Duration::from_secs(2);

pub(super) struct FunctionDeployer<'a> {
    pub(super) session: Session<'a>,
    pub(super) strategy: Strategy,
    /// `ROLLBACK`.
    pub(super) rollback: bool,
    /// True if a function that is gone is deployed as it was before: with `WAIT` or `ROLLBACK`.
    pub(super) restores: bool,
    /// `WAIT_TIMEOUT`: how long to retry the creation of a function that was deleted.
    pub(super) limit: Duration,
}

pub(super) struct WantedFunction<'a> {
    pub(super) target: &'a FunctionName,
    pub(super) deployment: &'a Deployment,
    /// The deployment as JSON.
    pub(super) body: Bytes,
    /// The previous version, if it was read.
    pub(super) before: Option<&'a StatusResult>,
}

impl WantedFunction<'_> {
    fn change(&self) -> UpdateRequest<'_> {
        UpdateRequest { target: self.target, image: &self.deployment.image, body: &self.body, before: self.before }
    }
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

impl FunctionDeployer<'_> {
    pub(super) async fn deploy(&self, wanted: &WantedFunction<'_>) -> Result<Action, Failed> {
        match self.strategy {
            Strategy::Update => self.update(wanted).await,
            Strategy::Create => Ok(self.create(wanted).await?),
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
        let WantedFunction { target, body, .. } = wanted;
        match update(&self.session, &wanted.change()).await {
            Ok(Update::Accepted) => return Ok(Action::Updated),
            Ok(Update::NotFound) => {}
            Err(error) if error.says_being_deleted() => return self.create_after_removal(wanted).await,
            Err(error) => return Err(error),
        };
        match self.session.gateway.create(target, body.clone()).await? {
            Creation::Accepted => Ok(Action::Created),
            Creation::Exists { response_lost: true, .. } if self.is_as_sent(wanted).await => Ok(Action::Created),
            Creation::Exists { error, .. } if error.says_being_deleted() => self.create_after_removal(wanted).await,
            // Created meanwhile, by an earlier attempt or by another pipeline: this deployment has priority.
            Creation::Exists { error, .. } => match update(&self.session, &wanted.change()).await? {
                Update::Accepted => Ok(Action::Updated),
                Update::NotFound => Err(error),
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
            return Left::Untouched;
        }
        let before = match wanted.before {
            Some(Ok(Some(before))) => Some(before),
            // What was not there cannot be lost.
            Some(Ok(None)) => return Left::Untouched,
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
            (Ok(Some(_)), _) => Left::Untouched,
            (Ok(None) | Err(_), _) => Left::Unknown,
        }
    }

    /// Deploys what ran before in the place of a version that does not run, if a rollback is asked for.
    async fn revive(&self, wanted: &WantedFunction<'_>, before: &Status) -> Left {
        if !self.rollback {
            return Left::Down;
        }
        let body = redeployment(wanted.target, before);
        let now = self.session.gateway.get(wanted.target, Repeat::NotAfterTimeout).await;
        let change = UpdateRequest { target: wanted.target, image: &before.image, body: &body, before: Some(&now) };
        match update(&self.session, &change).await {
            Ok(Update::Accepted) => Left::Restored(before.image.clone()),
            Ok(Update::NotFound) => self.restore(wanted).await,
            Err(_) => Left::Down,
        }
    }

    /// Never changes a function that exists.
    async fn create(&self, wanted: &WantedFunction<'_>) -> Result<Action, Error> {
        match self.session.gateway.create(wanted.target, wanted.body.clone()).await? {
            Creation::Accepted => Ok(Action::Created),
            Creation::Exists { response_lost: true, .. } if self.is_as_sent(wanted).await => Ok(Action::Created),
            Creation::Exists { error, .. } => Err(error),
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
    async fn left_by_deletion(&self, wanted: &WantedFunction<'_>) -> Left {
        match self.session.gateway.get(wanted.target, Repeat::Always).await {
            Ok(None) => self.restore(wanted).await,
            // What is reported may be an old one that is still being deleted.
            Ok(Some(status)) if self.is_image_of(wanted, &status) => Left::Untouched,
            Ok(Some(_)) => Left::Unknown,
            Err(_) => match self.restore(wanted).await {
                Left::Gone => Left::Unknown,
                left => left,
            },
        }
    }

    fn is_image_of(&self, wanted: &WantedFunction<'_>, status: &Status) -> bool {
        let was_other = !matches!(wanted.before, Some(Ok(Some(before))) if is_same_image(&before.image, &status.image));
        was_other && is_same_image(&wanted.deployment.image, &status.image)
    }

    async fn reported(&self, target: &FunctionName) -> Reported {
        self.session.gateway.reported(&[target.namespace.as_deref()].into()).await
    }

    async fn replace(&self, wanted: &WantedFunction<'_>) -> Result<Action, Failed> {
        let unsure = match self.session.gateway.delete(wanted.target).await? {
            Deletion::NotFound => match self.create(wanted).await {
                // Community Edition does not find what something else deletes, nor what has lost its service.
                Err(error) if error.says_being_deleted() || error.is_transient() => None,
                Ok(action) => return Ok(action),
                Err(error) => {
                    // It was there before: something removed it meanwhile, and that may have been this run.
                    let was_there = matches!(wanted.before, Some(Ok(Some(_))));
                    let left = if was_there { self.left_by_deletion(wanted).await } else { Left::Untouched };
                    return Err(Failed { left, ..error.into() });
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
            (Uncreated::Exists(error), _) => (error, Left::Gone),
            (Uncreated::Refused(error), _) => (error, self.left_by_deletion(wanted).await),
        };
        Err(Failed { left, ..error.into() })
    }

    /// Creates a function that is being deleted as soon as it is gone, even if its status cannot be read in between.
    async fn create_again(&self, wanted: &WantedFunction<'_>) -> Result<(), Uncreated> {
        // Of a gateway that was never there, no request can have been carried out that is worth waiting for.
        let limit = if self.session.gateway.is_down() { Duration::ZERO } else { self.limit };
        let deadline = Instant::now() + limit;
        let mut pause = PAUSE;
        let mut last = None;
        let mut may_look = true;
        let mut is_stopping = false;
        loop {
            let is_last = is_stopping || Instant::now() >= deadline;
            let is_there = may_look
                && !is_stopping
                && match self.session.gateway.get(wanted.target, Repeat::Always).await {
                    Ok(status) => status.is_some(),
                    Err(error) => {
                        // Not every Policy permits it; then the creation shows whether the function is gone.
                        may_look = !error.is_forbidden();
                        false
                    }
                };
            if !is_there || is_last {
                match self.session.gateway.create(wanted.target, wanted.body.clone()).await {
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
                () = tokio::time::sleep(pause.min(deadline.saturating_duration_since(Instant::now()))) => {}
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
        is_new && matches!(update(&self.session, &wanted.change()).await, Ok(Update::Accepted))
    }

    /// Deploys what ran before a function was removed, if all of it is known.
    async fn restore(&self, wanted: &WantedFunction<'_>) -> Left {
        let Some(Ok(Some(status))) = wanted.before else { return Left::Gone };
        if !self.restores || !self.reported(wanted.target).await.is_complete() {
            return Left::Gone;
        }
        let body = redeployment(wanted.target, status);
        match self.session.gateway.create(wanted.target, body).await {
            Ok(Creation::Accepted) => Left::Restored(status.image.clone()),
            Ok(Creation::Exists { error, .. }) if error.says_being_deleted() => Left::Gone,
            Ok(Creation::Exists { .. }) => Left::Untouched,
            Err(_) => Left::Gone,
        }
    }
}
