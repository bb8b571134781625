//! Keys of trusted issuers: fetched before the service is ready, when an operator asks for it, and when they are old.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Service;
use crate::access::Authorizer;
use crate::identity::{FetchErrorKind, IdentityError, Verified};
use crate::problem::Problem;

/// The seconds since the start for which missing keys of a trusted issuer keep the service from being ready. Past them,
/// one issuer that does not answer would keep it from serving all others.
const READY_WITHIN: u64 = 10;

impl Service {
    /// Fetches the keys of all trusted issuers anew, also those that are not old: keys that were withdrawn are no longer
    /// accepted afterwards. Keys that cannot be fetched stay, which is logged.
    pub async fn refetch_trusted_keys(&self) {
        let Ok(now) = self.now() else { return };
        let authorizer = self.authorizer.load_full();
        // All at once: each may take seconds.
        let fetches: Vec<_> = authorizer
            .trusted
            .published()
            .map(Arc::clone)
            .map(|published| tokio::spawn(async move { published.refetch(now).await.is_ok() }))
            .collect();
        let (mut fetched, all) = (0, fetches.len());
        for fetch in fetches {
            fetched += usize::from(fetch.await.unwrap_or(false));
        }
        if all > 0 {
            tracing::info!(fetched, all, "fetched the keys of trusted issuers");
        }
    }

    /// Begins to fetch keys of trusted issuers that are missing or old, so that no token has to wait for them. Must be called
    /// within a runtime.
    pub fn keep_trusted_keys_fresh(&self) {
        let Ok(now) = self.now() else { return };
        for published in self.authorizer.load().trusted.published() {
            published.keep_fresh(now);
        }
    }

    /// Fails while keys of a trusted issuer are missing shortly after the start.
    pub(super) fn has_trusted_keys(&self, now: u64) -> Result<(), Problem> {
        let authorizer = self.authorizer.load();
        let missing: Vec<_> = authorizer
            .trusted
            .published()
            .filter(|published| !published.has_keys(now))
            .map(|published| published.issuer())
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        let issuers = missing.join(" ");
        if now.saturating_sub(self.started_at) < READY_WITHIN {
            return Err(Problem::unavailable(format!("waiting for the keys of {issuers}")));
        }
        if !self.ready_without_keys.swap(true, Ordering::AcqRel) {
            tracing::warn!(
                issuers,
                "ready without the keys of these trusted issuers; their tokens get 503 until they can be fetched"
            );
        }
        Ok(())
    }

    /// The identity that a token proves. No request has a slot before: it may wait for the issuer's keys.
    pub(super) async fn verify(
        &self,
        authorizer: &Authorizer,
        token: &str,
    ) -> Result<Verified, IdentityError> {
        let now = || {
            let reason = || "the clock failed".to_owned();
            let now = self.clock.now();
            now.map_err(|_| IdentityError::Unavailable { retry_after: 5, reason: reason() })
        };
        let verified = authorizer.trusted.verify(token, now()?).await?;
        // It may have waited for the issuer's keys.
        let (now, expired) = (now()?, verified.expires_at);
        if now >= expired {
            return Err(IdentityError::Expired { expired, now });
        }
        Ok(verified)
    }

    /// Shows the keys and fetches of trusted issuers as they are now. Their counts are kept with the keys, which a change
    /// of the configuration may replace.
    pub(super) fn show_trusted_issuers(&self, now: u64) {
        let metrics = &self.metrics.trusted_issuers;
        metrics.reset();
        for published in self.authorizer.load().trusted.published() {
            let issuer = published.issuer();
            let (keys, fetched, statistics) = published.statistics();
            metrics.keys.with_label_values(&[issuer]).set(integer(keys as u64));
            let age = now.saturating_sub(fetched.unwrap_or(self.started_at));
            metrics.key_age.with_label_values(&[issuer]).set(integer(age));
            let last_failure = statistics.last_failure.unwrap_or(0);
            metrics.last_failure.with_label_values(&[issuer]).set(integer(last_failure));
            let fetches = |result: &str, count: u64| {
                metrics.fetches.with_label_values(&[issuer, result]).inc_by(count);
            };
            fetches("success", statistics.succeeded);
            for (kind, count) in FetchErrorKind::ALL.iter().zip(statistics.failed) {
                fetches(kind.as_str(), count);
            }
        }
    }
}

fn integer(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
