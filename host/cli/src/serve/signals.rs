//! The signals that stop the process, reload its files, or do nothing.
//!
//! The system ends a process at once on most signals that it does not listen for, without closing the log. So it listens
//! for each of them that another process can send by mistake, as a supervisor does that rotates logs by SIGUSR1.

use std::io;

#[cfg(unix)]
use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals that stop it: SIGTERM, SIGINT and SIGQUIT; elsewhere than on Unix, Ctrl-C.
pub(crate) struct Stop {
    #[cfg(unix)]
    terminate: Signal,
    #[cfg(unix)]
    interrupt: Signal,
    #[cfg(unix)]
    quit: Signal,
}

/// The signal to reload files: SIGHUP, which is on Unix only.
pub(super) struct Sighup {
    #[cfg(unix)]
    signal: Signal,
}

impl Stop {
    /// Starts listening. Must be called within a runtime.
    pub(crate) fn listen() -> io::Result<Self> {
        Ok(Self {
            #[cfg(unix)]
            terminate: signal(SignalKind::terminate())?,
            #[cfg(unix)]
            interrupt: signal(SignalKind::interrupt())?,
            #[cfg(unix)]
            quit: signal(SignalKind::quit())?,
        })
    }

    #[cfg(unix)]
    pub(crate) async fn recv(mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
            _ = self.quit.recv() => {}
        }
    }

    #[cfg(not(unix))]
    pub(crate) async fn recv(self) {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending().await
        }
    }
}

impl Sighup {
    /// Starts listening. Must be called within a runtime.
    pub(super) fn listen() -> io::Result<Self> {
        Ok(Self {
            #[cfg(unix)]
            signal: signal(SignalKind::hangup())?,
        })
    }

    #[cfg(unix)]
    pub(super) async fn recv(&mut self) {
        self.signal.recv().await;
    }

    #[cfg(not(unix))]
    pub(super) async fn recv(&mut self) {
        std::future::pending().await
    }
}

/// Ignores every other signal that would end the process, and logs it. Those that report a fault of the program itself are
/// left alone; so is SIGABRT, by which a process is meant to end at once.
///
/// Must be called within a runtime.
#[cfg(unix)]
pub(super) fn ignore_others() -> io::Result<()> {
    for (name, number) in OTHERS {
        let mut signal = signal(SignalKind::from_raw(*number))?;
        tokio::spawn(async move {
            while signal.recv().await.is_some() {
                tracing::warn!(
                    signal = name,
                    "ignored a signal; SIGTERM stops the service, SIGHUP reloads its files"
                );
            }
        });
    }
    // Those of programs' own use have a number each.
    #[cfg(target_os = "linux")]
    for number in libc::SIGRTMIN()..=libc::SIGRTMAX() {
        // Once it is listened for, it no longer ends the process; nobody has to hear it.
        let _ = signal(SignalKind::from_raw(number))?;
    }
    Ok(())
}

/// With SIGXFSZ and SIGXCPU: a limit of the system's that is met is an error of whoever meets it, and its log is closed.
#[cfg(unix)]
const OTHERS: &[(&str, i32)] = &[
    ("SIGUSR1", libc::SIGUSR1),
    ("SIGUSR2", libc::SIGUSR2),
    ("SIGALRM", libc::SIGALRM),
    ("SIGVTALRM", libc::SIGVTALRM),
    ("SIGPROF", libc::SIGPROF),
    ("SIGIO", libc::SIGIO),
    ("SIGXFSZ", libc::SIGXFSZ),
    ("SIGXCPU", libc::SIGXCPU),
    #[cfg(target_os = "linux")]
    ("SIGPWR", libc::SIGPWR),
    #[cfg(target_os = "linux")]
    ("SIGSTKFLT", libc::SIGSTKFLT),
];
