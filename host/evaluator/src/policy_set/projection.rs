//! The outcome that a policy set would have, with recorded verdicts in the place of evaluations.

use std::cell::OnceCell;
use std::sync::Arc;

use super::binding::Binding;
use crate::contract::Arguments;
use crate::decision::outcome::{BindingTrace, Outcome};
use crate::decision::recorded::RecordedTrace;
use crate::request::claims::Claims;

/// The outcome that a policy set would have for claims. Only [`PolicySet::project`](crate::PolicySet::project) makes one.
///
/// It is no [`Decision`](crate::Decision): verdicts of a record may stand in it, which nobody proved to be those of the
/// policies, so there is no way from it to an [`Approval`](crate::Approval).
///
/// ```compile_fail,E0599
/// # fn f(projection: countersign::Projection) {
/// projection.into_approval();
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Projection {
    /// The outcome.
    pub outcome: Outcome,
    /// Every binding that applies, in the order of names, shadow bindings included.
    pub trace: Vec<BindingTrace>,
    /// The number of bindings in the trace whose verdict was taken from a record.
    pub reused: usize,
}

/// The claims as guests see them, made when the first binding needs them.
pub(super) struct LazyArguments<'c> {
    claims: &'c Claims,
    arguments: OnceCell<Arguments<'c>>,
}

impl<'c> LazyArguments<'c> {
    pub(super) fn new(claims: &'c Claims) -> Self {
        Self { claims, arguments: OnceCell::new() }
    }

    /// The part of a binding: the recorded one where the binding evaluates as a recorded binding did, and an evaluation
    /// otherwise. The second value tells whether it was taken from the record.
    pub(super) fn part_of(
        &self,
        binding: &Binding,
        recorded: &[RecordedTrace],
    ) -> (BindingTrace, bool) {
        let identity = binding.identity();
        let known = recorded.iter().find(|entry| entry.binding.evaluates_as(identity));
        // A recorded fault never stands in: some of them depend on the machine, and a fault is worth a second look.
        if let Some(RecordedTrace { result: Ok(verdict), used, .. }) = known {
            let (result, used) = (Ok(verdict.clone()), *used);
            return (
                BindingTrace { binding: Arc::clone(binding.shared_identity()), result, used },
                true,
            );
        }
        let arguments = self.arguments.get_or_init(|| Arguments::new(self.claims));
        (binding.evaluate(arguments, self.claims), false)
    }
}
