//! `PUT` of one function. faasd goes on with an update whose client has left: one that got no response is not sent again before it
//! is known what became of it.

use bytes::Bytes;
use tokio::time::{Duration, Instant, sleep};

use crate::commands::concurrent::Session;
use crate::function::FunctionName;
use crate::function::api::Status;
use crate::function::image::is_same_image;
use crate::gateway::statuses::StatusResult;
use crate::gateway::{Error, Repeat, Update};
use crate::http::retry::{self, Attempt};

/// The pause between two looks; it grows to [`PAUSE_MOST`].
const PAUSE: Duration = Duration::from_millis(100);
const PAUSE_MOST: Duration = Duration::from_secs(2);
/// How long the function is looked at: twice as long as the request took, within these limits.
const LOOK_LEAST: Duration = Duration::from_secs(1);
const LOOK_MOST: Duration = Duration::from_secs(300);
/// How long an update takes at least once it has removed the old version.
const REMOVED: Duration = Duration::from_secs(5);

/// An update of a function.
pub(super) struct UpdateRequest<'a> {
    pub(super) target: &'a FunctionName,
    pub(super) image: &'a str,
    pub(super) body: &'a Bytes,
    /// The previous version, if it was read.
    pub(super) before: Option<&'a StatusResult>,
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

/// Sends an update until its response is final, or the retries are used up.
pub(super) async fn update(session: &Session<'_>, change: &UpdateRequest<'_>) -> Result<Update, Error> {
    let Session { gateway, .. } = session;
    let attempt = async |number| {
        let sent = Instant::now();
        let result = gateway.update(change.target, change.body.clone()).await;
        let error = match &result {
            Err(error) if error.may_be_under_way() && gateway.provider().await.may_remove() => error,
            _ => return Attempt { result, retry: None },
        };
        match outcome(session, change, error, sent.elapsed()).await {
            Seen::Done => Attempt { result: Ok(Update::Accepted), retry: None },
            Seen::Unknown => Attempt { result, retry: None },
            Seen::NotDone => {
                let retry = Some((retry::backoff(number), error.to_string()));
                Attempt { result, retry }
            }
        }
    };
    gateway.retries().run(attempt).await
}

/// Looks at the function until the update was carried out, or for so long that it is not under way any more. `took` is how long
/// the request took.
async fn outcome(session: &Session<'_>, change: &UpdateRequest<'_>, error: &Error, took: Duration) -> Seen {
    let before = match change.before {
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
        change.target
    );
    loop {
        let seen = match session.gateway.get(change.target, Repeat::NotAfterTimeout).await {
            Ok(Some(status)) if is_done(change, before.as_ref(), &status) => return Seen::Done,
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
fn is_done(change: &UpdateRequest<'_>, before: Option<&Status>, now: &Status) -> bool {
    let is_new = before.is_none_or(|before| before.created_at != now.created_at);
    is_new && now.replicas > 0 && is_same_image(&now.image, change.image)
}

/// True if a function is the one that ran before, as far as that is reported.
pub(super) fn is_unchanged(before: Option<&Status>, now: Option<&Status>) -> bool {
    match (before, now) {
        (None, None) => true,
        (Some(before), Some(now)) => before.created_at == now.created_at && (before.replicas > 0) == (now.replicas > 0),
        _ => false,
    }
}
