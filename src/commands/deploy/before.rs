//! The functions before a deploy: for `WAIT`, for `ROLLBACK`, and for what faasd leaves after an update that failed.

use crate::commands::concurrent::Session;
use crate::config::Deploy;
use crate::console::log::quote;
use crate::diagnostic::{Diagnostic, Failure};
use crate::function::FunctionName;
use crate::function::image::is_same_tag;

use crate::gateway::provider::Reported;
use crate::gateway::statuses::{StatusResult, Statuses};
use crate::gateway::{Error, Repeat};
use crate::stack::Function;
use crate::text::count;

/// More functions are not named in one line.
const MOST_NAMED: usize = 10;

/// Of faasd, whose single statuses have no limits.
const NO_LIST: &str = "the gateway did not return the list of functions, which faasd's memory limits are read from: check that its Prometheus is running";

/// The functions before anything is deployed.
pub(super) struct Before {
    /// In the order of the functions; empty if it is not needed.
    pub(super) readings: Vec<StatusResult>,
    /// The fields that the gateway reports, if they were needed.
    pub(super) reported: Reported,
}

impl Before {
    /// Reads it as far as it is needed. An error if a rollback needs it and it cannot be read.
    pub(super) async fn read(session: &Session<'_>, deploy: &Deploy, functions: &[Function]) -> Result<Self, Error> {
        let Session { gateway, parallel, .. } = *session;
        let is_lost_easily = gateway.provider().await.may_remove();
        let is_needed = deploy.wait.is_some() || deploy.only_changed;
        if session.shutdown.requested().is_some() || !is_needed && !is_lost_easily {
            return Ok(Self { readings: Vec::new(), reported: Reported::NONE });
        }
        let targets: Vec<_> = functions.iter().map(|function| FunctionName::from(&function.deployment)).collect();
        let targets: Vec<_> = targets.iter().collect();
        // Otherwise it only decides what is said of an update that fails.
        let repeat = if is_needed { Repeat::Always } else { Repeat::NotAfterTimeout };
        let statuses = Statuses::complete(gateway, parallel).await.repeating(repeat);
        let readings = statuses.read(&targets).await;
        let mut before = Self { readings, reported: Reported::NONE };
        if deploy.rollback || deploy.only_changed {
            let errors = before.readings.iter().filter_map(|reading| reading.as_ref().err());
            if let Some(error) = session.reporter.first(errors) {
                let variable = if deploy.only_changed { "ONLY_CHANGED" } else { "ROLLBACK" };
                let problem = session.reporter.failed(error);
                let message = format!(
                    "nothing is deployed: `{variable}` needs the previous version, which could not be read: {}",
                    problem.message
                );
                // What the Policy lacks is reported at the end, with what to paste.
                let hint = problem.hint.filter(|_| error.lacks().is_none());
                return Err(Error::not_sent(Diagnostic { message, hint, ..problem }));
            }
        }
        if deploy.rollback {
            let namespaces = targets.iter().map(|target| target.namespace.as_deref()).collect();
            before.reported = gateway.reported(&namespaces).await.without_limits(statuses.lacks_limits());
            before.can_roll_back()?;
            before.warn_of_tags(functions, deploy.only_changed);
        } else if statuses.lacks_limits() && before.readings.iter().any(|reading| matches!(reading, Ok(Some(_)))) {
            let message =
                "a version that has to be restored would lose its memory limit, which only the list of functions has";
            Diagnostic::warning(message).with_hint(NO_LIST).log();
        }
        Ok(before)
    }

    /// A function of which the gateway does not report all cannot be redeployed as it was.
    fn can_roll_back(&self) -> Result<(), Error> {
        let running = self.readings.iter().filter(|reading| matches!(reading, Ok(Some(_)))).count();
        if running == 0 || self.reported.is_complete() {
            return Ok(());
        }
        let functions = count(running, "function");
        // The other fields that faasd does not report are those that it does not support.
        let missing =
            if self.reported.has_memory_limits() { self.reported.missing() } else { "memory limits".to_owned() };
        let message = format!(
            "nothing is deployed: `ROLLBACK` could not restore {functions}, since the gateway does not report: {missing}"
        );
        let hint = match self.reported.has_memory_limits() {
            true => {
                "leave `ROLLBACK` out: Community Edition never reports these fields; of another gateway that takes a \
                 password they count as reported only if some function of the namespace shows them"
            }
            false => NO_LIST,
        };
        Err(Error::not_sent(Diagnostic::new(Failure::Input, message).with_hint(hint)))
    }

    /// A tag that was moved since stands for the new image before and after.
    fn warn_of_tags(&self, functions: &[Function], only_changed: bool) {
        let moved: Vec<_> = functions
            .iter()
            .zip(&self.readings)
            .filter_map(|(function, reading)| {
                let status = reading.as_ref().ok()?.as_ref()?;
                let is_sent = !only_changed || !self.reported.changes(status, &function.deployment).is_empty();
                (is_sent && is_same_tag(&function.deployment.image, &status.image)).then_some(&function.deployment)
            })
            .collect();
        let Some(first) = moved.first() else { return };
        let named: Vec<_> =
            moved.iter().take(MOST_NAMED).map(|function| format!("`{}`", FunctionName::from(*function))).collect();
        let more = moved.len().saturating_sub(MOST_NAMED);
        let more = if more == 0 { String::new() } else { format!(" and {more} more") };
        let message = format!(
            "`ROLLBACK` cannot restore the image of {}{more}: its name, such as `{}`, is the same before and after",
            named.join(", "),
            quote(&first.image)
        );
        let hint =
            "set `PIN_IMAGES: 'true'`, which deploys each image by its digest, or give each version a tag of its own";
        Diagnostic::warning(message).with_hint(hint).log();
    }
}
