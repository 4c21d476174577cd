//! The stages of a server that dies.

use tokio::sync::watch;

/// The stage of a server, watched by its connections.
#[derive(Debug)]
pub(crate) struct Life(watch::Sender<Stage>);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    Alive,
    /// No new connection is accepted.
    Dying,
    /// Every connection is closed.
    Dead,
}

impl Default for Life {
    fn default() -> Self {
        Self(watch::Sender::new(Stage::Alive))
    }
}

impl Life {
    pub(crate) fn enter(&self, stage: Stage) {
        self.0.send_replace(stage);
    }

    /// Waits until the server has reached this stage.
    pub(crate) async fn reached(&self, stage: Stage) {
        // The sender lives as long as `self`, so this cannot fail.
        let _ = self.0.subscribe().wait_for(|life| *life >= stage).await;
    }
}
