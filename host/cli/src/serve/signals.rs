//! What an operator tells the process: to stop, and to read its files again.

use std::io;

#[cfg(unix)]
use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals that stop it: SIGTERM and SIGINT; elsewhere than on Unix, Ctrl-C.
pub struct Stop {
    #[cfg(unix)]
    terminate: Signal,
    #[cfg(unix)]
    interrupt: Signal,
}

/// The signal to read files again: SIGHUP, which is on Unix only.
pub struct HangUp {
    #[cfg(unix)]
    hang_up: Signal,
}

impl Stop {
    /// Listens from now on. Within a runtime.
    pub fn listen() -> io::Result<Self> {
        Ok(Self {
            #[cfg(unix)]
            terminate: signal(SignalKind::terminate())?,
            #[cfg(unix)]
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    #[cfg(unix)]
    pub async fn told(mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }

    #[cfg(not(unix))]
    pub async fn told(self) {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending().await
        }
    }
}

impl HangUp {
    /// Listens from now on. Within a runtime.
    pub fn listen() -> io::Result<Self> {
        Ok(Self {
            #[cfg(unix)]
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    #[cfg(unix)]
    pub async fn told(&mut self) {
        self.hang_up.recv().await;
    }

    #[cfg(not(unix))]
    pub async fn told(&mut self) {
        std::future::pending().await
    }
}
