//! Messages to the supervisor of the process, by the protocol of systemd's `sd_notify(3)`. Without one (`NOTIFY_SOCKET` is
//! not set), nothing is sent.

use std::sync::Arc;

use countersign_issuer::Service;

#[cfg(target_os = "linux")]
use sd_notify::NotifyState;

/// Says that the service listens, or that a reload has ended, however it did.
pub(super) fn is_serving() {
    #[cfg(target_os = "linux")]
    send(&[NotifyState::Ready]);
}

/// Says that files are read again. [`is_serving`] ends it.
pub(super) fn is_reloading() {
    #[cfg(target_os = "linux")]
    match NotifyState::monotonic_usec_now() {
        Ok(now) => send(&[NotifyState::Reloading, now]),
        Err(_) => send(&[NotifyState::Reloading]),
    }
}

/// Says that the service stops.
pub(super) fn is_stopping() {
    #[cfg(target_os = "linux")]
    send(&[NotifyState::Stopping]);
}

/// Tells a watchdog (`WATCHDOG_USEC`) that the service is alive, twice in its interval, as long as it is. Once only a
/// restart can mend it, the watchdog is told at once.
///
/// Must be called within a runtime.
pub(super) fn keep_watchdog_quiet(service: &Arc<Service>) {
    #[cfg(target_os = "linux")]
    if let Some(interval) = sd_notify::watchdog_enabled().filter(|interval| !interval.is_zero()) {
        let service = Arc::clone(service);
        tokio::spawn(async move {
            let mut due = tokio::time::interval(interval / 2);
            loop {
                due.tick().await;
                if let Err(problem) = service.healthy() {
                    tracing::error!(?problem, "asked the supervisor for a restart");
                    return send(&[NotifyState::WatchdogTrigger]);
                }
                send(&[NotifyState::Watchdog]);
            }
        });
    }
    #[cfg(not(target_os = "linux"))]
    let _ = service;
}

#[cfg(target_os = "linux")]
fn send(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(%error, "failed to notify the supervisor");
    }
}
