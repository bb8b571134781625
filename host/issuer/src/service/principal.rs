//! The principals of the control plane, and what proves them.

use super::Service;
use crate::access::Authorizer;
use crate::identity::{Identity, IdentityError, Permission, Verified, unverified_claims};
use crate::problem::{Problem, ProblemKind};
use crate::record::{Requester, UsedToken};

/// A principal of the control plane that has proved who it is.
#[derive(Debug, Clone)]
pub struct Principal {
    /// The name of its API key, or the subject of its token.
    pub name: String,
    /// The issuer of its token; `None` for an API key.
    pub issuer: Option<String>,
    /// Its token, where that is used up by the request.
    pub used: Option<UsedToken>,
}

impl Principal {
    /// The principal, as records have it.
    pub(crate) fn requester(&self) -> Requester {
        Requester::ControlPlane { name: self.name.clone(), issuer: self.issuer.clone() }
    }
}

impl Service {
    /// The principal of the control plane that holds a bearer token, if it has the permission.
    ///
    /// # Errors
    /// When the token is not accepted, or its holder lacks the permission.
    pub async fn authenticate(
        &self,
        bearer: &str,
        permission: Permission,
    ) -> Result<Principal, Problem> {
        let authorizer = self.authorizer.load_full();
        let (principal, permissions) = if Authorizer::is_api_key(bearer) {
            let key = authorizer.api_key(bearer).ok_or_else(|| {
                Problem::new(ProblemKind::Unauthenticated, "the API key is unknown")
            })?;
            let now = self.now()?;
            if key.expires_at.is_some_and(|end| now >= end) {
                let problem = Problem::new(ProblemKind::Unauthenticated, "the API key has expired");
                return Err(problem.detail(&key.name));
            }
            let principal = Principal { name: key.name.clone(), issuer: None, used: None };
            (principal, key.permissions.clone())
        } else if bearer.split('.').count() != 3 {
            let description = "expected an API key (`csk_…`) or a signed JWT";
            return Err(Problem::new(ProblemKind::Unauthenticated, description));
        } else {
            let checked = async {
                let verified = self.verify(&authorizer, bearer).await?;
                let used = used_token(&verified);
                self.use_once(used.as_ref()).await?;
                Ok((verified, used))
            };
            let (verified, used) = checked.await.map_err(|error| {
                let problem = identity_problem(&error, bearer);
                match problem.kind {
                    ProblemKind::InvalidRequest => {
                        Problem { kind: ProblemKind::Unauthenticated, ..problem }
                    }
                    _ => problem,
                }
            })?;
            let permissions = match verified.identity {
                Identity::ControlPlane(permissions) => permissions,
                Identity::Runner(_) => Vec::new(),
            };
            let (name, issuer) = (verified.subject, Some(verified.issuer));
            (Principal { name, issuer, used }, permissions)
        };
        if !permissions.contains(&permission) {
            let word = permission.as_str();
            let description = format!("the caller lacks the permission `{word}`");
            return Err(Problem::new(ProblemKind::Forbidden, description).detail(principal.name));
        }
        Ok(principal)
    }

    /// Notes the use of a token that may be used once. Comes last, after every check that could still reject it, and not
    /// where nothing can be given for it.
    pub(super) async fn use_once(&self, used: Option<&UsedToken>) -> Result<(), IdentityError> {
        let Some(used) = used else { return Ok(()) };
        let unavailable = |reason| IdentityError::Unavailable { retry_after: 5, reason };
        if self.log_has_failed() {
            return Err(unavailable("the decision log has failed".to_owned()));
        }
        let first = self.store.use_once(&used.issuer, &used.token_id, used.expires_at).await;
        let first = first
            .map_err(|error| unavailable(self.store_failed(&error).detail.unwrap_or_default()))?;
        if first { Ok(()) } else { Err(IdentityError::Used) }
    }

    /// Gives a principal's single-use token back where the whole answer is to ask again.
    ///
    /// # Errors
    /// The answer's own.
    pub async fn repeatable_for<T>(
        &self,
        principal: &Principal,
        answer: Result<T, Problem>,
    ) -> Result<T, Problem> {
        self.repeatable(principal.used.as_ref(), answer).await
    }

    /// Takes back the use of a token where the answer is to ask again: an answer of that kind can be asked for again.
    pub(super) async fn repeatable<T>(
        &self,
        used: Option<&UsedToken>,
        answer: Result<T, Problem>,
    ) -> Result<T, Problem> {
        let gave_nothing = |problem: &Problem| {
            let kind = problem.kind;
            matches!(
                kind,
                ProblemKind::Unavailable | ProblemKind::Internal | ProblemKind::TooManyRequests
            )
        };
        if let (Err(problem), Some(used)) = (&answer, used)
            && gave_nothing(problem)
            && let Err(error) = self.store.release(&used.issuer, &used.token_id).await
        {
            let _ = self.store_failed(&error);
            let error: &dyn std::error::Error = &error;
            tracing::error!(error, "failed to take back the use of a token: it is used up");
        }
        answer
    }
}

/// The token, where it may be used once.
pub(super) fn used_token(verified: &Verified) -> Option<UsedToken> {
    let (token_id, expires_at) = verified.once.clone()?;
    Some(UsedToken { issuer: verified.issuer.clone(), token_id, expires_at })
}

/// The problem of a token that is not accepted.
pub(super) fn identity_problem(error: &IdentityError, token: &str) -> Problem {
    let detail = || match unverified_claims(token) {
        Some(claims) => format!("{error}; unverified, it has {claims}"),
        None => error.to_string(),
    };
    match error {
        IdentityError::Unavailable { retry_after, .. } => {
            Problem::unavailable(detail()).retry_after(*retry_after)
        }
        _ => Problem::invalid(error.to_string()).detail(detail()),
    }
}
