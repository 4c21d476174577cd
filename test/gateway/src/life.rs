//! How far a server that dies has come.

use tokio::sync::watch;

/// A server's stage, watched by its connections.
#[derive(Debug)]
pub(crate) struct Life(watch::Sender<Stage>);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    Alive,
    /// No further connection is accepted.
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

    /// Waits until the server has come so far.
    pub(crate) async fn reached(&self, stage: Stage) {
        // The sender is kept as long as this.
        let _ = self.0.subscribe().wait_for(|life| *life >= stage).await;
    }
}
