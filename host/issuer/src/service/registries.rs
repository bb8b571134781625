//! The looks at registries of policies, as metrics show them.

use super::Service;

impl Service {
    /// Counts a look at the registries of policies: `Ok` with the time, in seconds since 1970, where they had everything, and
    /// the code of the error where not.
    pub fn record_registry_poll(&self, result: Result<u64, &'static str>) {
        let polls = &self.metrics.registry_polls;
        polls.with_label_values(&[result.err().unwrap_or("ok")]).inc();
        if let Ok(now) = result {
            self.metrics.registry_last_success.set(i64::try_from(now).unwrap_or(i64::MAX));
        }
    }

    /// Counts a release that was staged since a policy of a registry has moved.
    pub fn record_registry_release(&self) {
        self.metrics.registry_staged.inc();
    }
}
