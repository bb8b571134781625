//! Tokens of Kubernetes service accounts, whose claims the cluster's API server writes (ExternalJWTSigner v1, KEP-740).
//!
//! ```text
//! claims (base64url) ─parse→ ServiceAccountClaims ─┬ with an Approval ─→ sign_service_account ─→ ServiceAccountSignature
//!                                                  ├ ForApiServer     ─→ sign_for_api_server  ─→      "
//!                                                  └ InShadow         ─→ sign_in_shadow       ─→      "
//! ```
//!
//! The claims are signed as they came, to the byte: nothing can be narrowed, and an approval of less is none.

mod claims;
mod signature;

pub use claims::{
    ApiServerAudiences, ClaimsRules, ForApiServer, InShadow, MAX_SERVICE_ACCOUNT_CLAIMS_BYTES, Pod,
    ServiceAccountClaims, ServiceAccountClaimsError,
};
pub use signature::{NotAsApproved, ServiceAccountError, ServiceAccountSignature};
