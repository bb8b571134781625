//! The signals of an operator: to stop, and to reload.

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

/// The signal to reload: SIGHUP, which exists on Unix only.
pub struct Sighup {
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
    pub async fn recv(mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }

    #[cfg(not(unix))]
    pub async fn recv(self) {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending().await
        }
    }
}

impl Sighup {
    /// Listens from now on. Within a runtime.
    pub fn listen() -> io::Result<Self> {
        Ok(Self {
            #[cfg(unix)]
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    #[cfg(unix)]
    pub async fn recv(&mut self) {
        self.hang_up.recv().await;
    }

    #[cfg(not(unix))]
    pub async fn recv(&mut self) {
        std::future::pending().await
    }
}
