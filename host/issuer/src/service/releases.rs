//! Releases in a running service: their steps on record, and their policies in the place of others.

use std::sync::Arc;

use countersign::PolicySet;
use tokio::sync::oneshot;

use super::Service;
use crate::decider::DecisionContext;
use crate::problem::Problem;
use crate::release::{ReleaseStep, step_record};

impl Service {
    /// Puts a step of releases on record, and waits until that is durable.
    ///
    /// # Errors
    /// When there can be no record.
    pub async fn record_release(&self, step: &ReleaseStep) -> Result<(), Problem> {
        let record = step_record(step, self.now()?).map_err(Problem::failed)?;
        let (done, durable) = oneshot::channel();
        {
            let log = self.log.load();
            let log = log.as_ref().ok_or_else(|| Problem::unavailable("stopping"))?;
            log.append(record, move |result| drop(done.send(result)));
        }
        self.recorded(durable).await
    }

    /// Replaces the policies for the requests that come from now on, and neither subjects nor clouds. The step that leads to
    /// it is on record before, so that no decision of these policies is before it in the log.
    ///
    /// Callers that replace the context take turns: one that is replaced meanwhile would come back.
    pub fn replace_policies(&self, policies: Arc<PolicySet>) {
        let context = self.context.load_full();
        let (subjects, clouds) = (context.subjects.clone(), context.clouds.clone());
        self.context.store(Arc::new(DecisionContext { policies, subjects, clouds }));
        self.show_policies();
    }
}
