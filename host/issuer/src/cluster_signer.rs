//! Signatures for a cluster: its API server writes the tokens of service accounts, and has them signed here.
//!
//! ```text
//! claims ─parse→ audiences ─┬ all the API server's ─────────────────────────────→ sign ─→ record ─→ signature
//!                           ├ all clouds' ─→ pod ─→ run ─→ Service (Decider) ───→ sign ─→ record ─→ signature
//!                           └ anything else ────────────────────────────────────→ record ─→ refusal
//! ```
//!
//! The first line is what keeps a cluster alive. It needs keys and nothing else: it goes on while policies, registry and
//! database are down, and without a record where none can be written. Everything else needs all of them.

mod config;
mod keys;
pub(crate) mod reason;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use countersign::{Audience, IssuerUrl, Reason, ReasonSource, RunId};
use countersign_clouds::AudienceClouds;
use countersign_signing::{
    ApiServerAudiences, ClaimsRules, ForApiServer, InShadow, Issuer, ServiceAccountClaims,
    ServiceAccountSignature,
};

use self::keys::ShownKeys;
use crate::clock::Clock;
use crate::config::ServiceConfig;
use crate::decider::SelectIssuer as _;
use crate::keys::KeyRing;
use crate::metrics::ClusterSignerMetrics;
use crate::problem::{LogFields, Problem};
use crate::record::{RequestOrigin, Requester, ServiceAccountRecord, SignerList};
use crate::service::{Service, ServiceAccountOutcome, ServiceAccountQuestion, ServiceError};

pub use config::{ClusterSignerConfig, SignerMode};
pub use keys::{PublishedKey, PublishedKeys};

/// The time for which a signature for the API server waits for its record.
const RECORD_WAIT: Duration = Duration::from_secs(2);

/// The seconds by which the API server's clock may differ from this one's, for tokens that are decided on.
const LEEWAY_SECONDS: u64 = 60;

/// The parts of a cluster's signer.
pub struct ClusterSignerParts {
    /// The issuer identifier.
    pub url: IssuerUrl,
    /// Its own configuration.
    pub config: ClusterSignerConfig,
    /// The configuration of the service.
    pub service: ServiceConfig,
    /// The clouds of audiences, until the service has those that are in use.
    pub clouds: AudienceClouds,
    /// The plan of keys, and their custody.
    pub keys: KeyRing,
    /// The clock, until the service has its own.
    pub clock: Arc<dyn Clock>,
}

/// Signs tokens of service accounts for a cluster's API server.
pub struct ClusterSigner {
    url: IssuerUrl,
    config: ClusterSignerConfig,
    pass: ApiServerAudiences,
    service_config: ServiceConfig,
    clouds: AudienceClouds,
    keys: ShownKeys,
    clock: Arc<dyn Clock>,
    last_now: AtomicU64,
    metrics: ClusterSignerMetrics,
    service: OnceLock<Arc<Service>>,
}

/// A request of the API server.
#[derive(Debug, Clone)]
pub struct SignRequest {
    /// The claims, in base64url without padding.
    pub claims: String,
    /// The request.
    pub origin: RequestOrigin,
    /// The user that the API server runs as, as the socket has it.
    pub uid: Option<u32>,
}

/// Claims on their way, with what their record has.
struct RequestedToken<'a> {
    claims: Option<&'a Arc<ServiceAccountClaims>>,
    list: SignerList,
    request: &'a SignRequest,
    time: u64,
}

impl ClusterSigner {
    /// Puts a signer together, and makes the first keys of an issuer. Policies, registry and database are not needed, and neither
    /// is a clock that is right: no time is before the one at which a key was made.
    ///
    /// # Errors
    /// When there are no keys.
    pub fn start(parts: ClusterSignerParts) -> Result<Arc<Self>, ServiceError> {
        let ClusterSignerParts { url, config, service, clouds, keys, clock } = parts;
        let made = keys.plan()?.keys.iter().map(|key| key.published).max();
        let now = match (clock.now(), made) {
            (Ok(now), made) => now.max(made.unwrap_or(0)),
            (Err(_), Some(made)) => made,
            (Err(error), None) => return Err(error.into()),
        };
        let keys = ShownKeys::open(keys, &url, &service, config.refresh_hint_seconds, now)?;
        Ok(Arc::new(Self {
            url,
            pass: ApiServerAudiences::new(config.pass.clone()),
            config,
            service_config: service,
            clouds,
            keys,
            clock,
            last_now: AtomicU64::new(now),
            metrics: ClusterSignerMetrics::new()?,
            service: OnceLock::new(),
        }))
    }

    /// Attaches the service that decides, once it has started. Only the first one counts.
    ///
    /// # Errors
    /// When its metrics cannot be registered.
    pub fn attach(&self, service: Arc<Service>) -> Result<(), ServiceError> {
        if self.service.set(Arc::clone(&service)).is_ok() {
            service.register_metrics(&self.metrics)?;
        }
        Ok(())
    }

    /// The maximum lifetime of a token, in seconds.
    pub fn max_expiration_seconds(&self) -> u64 {
        self.config.max_expiration_seconds
    }

    /// True when decisions are enforced.
    pub fn enforces(&self) -> bool {
        self.config.mode == SignerMode::Enforce
    }

    /// The keys that are published now, in an order that does not change.
    ///
    /// # Errors
    /// When a key cannot be written.
    pub fn published_keys(&self) -> Result<PublishedKeys, Problem> {
        self.metrics.fetches.inc();
        self.keys.published(self.time()).map_err(Problem::failed)
    }

    /// Loads keys that the service or another process made. It blocks.
    ///
    /// # Errors
    /// When keys cannot be read; those before stay in use.
    pub fn reload_keys(&self) -> Result<(), Problem> {
        self.keys.reload(&self.url, self.time()).map_err(Problem::failed)
    }

    /// Signs claims, or refuses them. Either is on record before this returns, but for tokens for the API server itself, and
    /// others in shadow, where no record can be written: those are signed, counted, and in the service's own log.
    ///
    /// # Errors
    /// When the claims are not those of a token, or must not be signed; or when something that decides is down.
    pub async fn sign(
        self: &Arc<Self>,
        request: &SignRequest,
    ) -> Result<ServiceAccountSignature, Problem> {
        let started = Instant::now();
        let signed = self.signed(request).await;
        let word = match &signed {
            Ok(_) => "signed",
            Err(problem) if problem.refusal.is_some() => "refused",
            Err(_) => "failed",
        };
        self.metrics.requests.with_label_values(&[word]).inc();
        self.metrics.seconds.observe(started.elapsed().as_secs_f64());
        signed
    }

    /// Refuses a request of the API server's that was never read, as one that is too large. On record before this returns,
    /// where a record can be written.
    pub async fn refuse_unread(&self, origin: RequestOrigin, uid: Option<u32>, message: String) {
        let request = &SignRequest { claims: String::new(), origin, uid };
        let (list, time) = (SignerList::None, self.time());
        let asked = RequestedToken { claims: None, list, request, time };
        // The answer is the protocol's.
        drop(self.refused(&asked, None, vec![of_host(reason::REQUEST_UNREAD, message)]).await);
        self.metrics.requests.with_label_values(&["refused"]).inc();
    }

    async fn signed(
        self: &Arc<Self>,
        request: &SignRequest,
    ) -> Result<ServiceAccountSignature, Problem> {
        let time = self.time();
        let max_expiration_seconds = self.config.max_expiration_seconds;
        let rules = ClaimsRules { issuer: &self.url, max_expiration_seconds };
        let claims = match ServiceAccountClaims::parse(&request.claims, &rules) {
            Ok(claims) => Arc::new(claims),
            Err(error) => {
                let asked = RequestedToken { claims: None, list: SignerList::None, request, time };
                let reasons = vec![of_host(error.code(), error.to_string())];
                // Also in shadow: what is no token of this cluster cannot be signed for it.
                return Err(self.refused(&asked, None, reasons).await);
            }
        };
        if self.with_clouds(|clouds| ForApiServer::of(&claims, &self.pass, clouds).is_some()) {
            let (signer, of_api_server) = (Arc::clone(self), Arc::clone(&claims));
            let signed = blocking(move || {
                signer.with_clouds(|clouds| {
                    let proof = ForApiServer::of(&of_api_server, &signer.pass, clouds);
                    let proof = proof.ok_or_else(|| Problem::unavailable("the clouds changed"))?;
                    let issuer = signer.issuer(&of_api_server)?;
                    let signature = issuer.sign_for_api_server(proof).map_err(Problem::failed)?;
                    Ok((signature, issuer))
                })
            });
            let (signature, issuer) = signed.await?;
            let asked =
                RequestedToken { claims: Some(&claims), list: SignerList::Pass, request, time };
            self.on_record_or_counted(&asked, Vec::new(), None, &signature, &issuer).await;
            return Ok(signature);
        }
        let asked =
            RequestedToken { claims: Some(&claims), list: self.list(&claims), request, time };
        self.decided(&asked, &claims).await
    }

    /// Decides on claims that are not for the API server alone.
    async fn decided(
        self: &Arc<Self>,
        asked: &RequestedToken<'_>,
        claims: &Arc<ServiceAccountClaims>,
    ) -> Result<ServiceAccountSignature, Problem> {
        let run = match self.run_of(claims, asked.list) {
            Ok(run) => run,
            Err(reason) => return self.refused_or_shadowed(asked, None, vec![reason]).await,
        };
        let outcome = async {
            let service = self.service.get();
            let service = service.ok_or_else(|| Problem::unavailable("policies are not ready"))?;
            let now = service.now()?;
            if let Err(error) = claims.issued_at(now, LEEWAY_SECONDS) {
                let reasons = vec![of_host(error.code(), error.to_string())];
                return Ok(ServiceAccountOutcome::Refused(reasons));
            }
            let question = ServiceAccountQuestion {
                run: run.clone(),
                claims: Arc::clone(claims),
                in_shadow: !self.enforces(),
                issuers: self.keys.loaded(),
            };
            let requester = requester(asked.request);
            service.sign_service_account(question, requester, asked.request.origin.clone()).await
        };
        match outcome.await {
            Ok(ServiceAccountOutcome::Signed(signature)) => Ok(signature),
            Ok(ServiceAccountOutcome::RefusedOnRecord(reasons)) => Err(problem(reasons, &run)),
            Ok(ServiceAccountOutcome::Refused(reasons)) => {
                self.refused_or_shadowed(asked, Some(&run), reasons).await
            }
            Err(problem) if self.enforces() => Err(problem),
            Err(problem) => {
                let detail = problem.detail.as_deref().unwrap_or(&problem.description);
                tracing::error!(%run, detail, "no decision on a token of a service account");
                let message = "there was no decision: something that it needs was down";
                let reasons = vec![of_host(reason::NO_DECISION, message.to_owned())];
                self.refused_or_shadowed(asked, Some(&run), reasons).await
            }
        }
    }

    /// The run that claims are for, by the name of the pod.
    fn run_of(&self, claims: &ServiceAccountClaims, list: SignerList) -> Result<RunId, Reason> {
        let no = |code, message: String| Err(of_host(code, message));
        let shown = |audiences: &[Audience]| {
            let texts: Vec<_> = audiences.iter().map(|audience| format!("`{audience}`")).collect();
            texts.join(", ")
        };
        let audiences = claims.audiences();
        if list == SignerList::None {
            let message = "the audience is in neither list of the signer: ";
            return no(reason::AUDIENCE_UNMAPPED, format!("{message}{}", shown(audiences)));
        }
        if list == SignerList::Both || audiences.len() > self.service_config.max_audiences {
            let message = "the audiences cannot be in one token: ";
            return no(reason::AUDIENCES_MIXED, format!("{message}{}", shown(audiences)));
        }
        if let Some(name) = claims.unknown().first() {
            let message = format!("the claim `{name}` is none that Kubernetes writes");
            return no(reason::CLAIM_UNKNOWN, message);
        }
        let max = u64::from(self.service_config.max_ttl_seconds);
        if claims.lifetime_seconds() > max {
            let found = claims.lifetime_seconds();
            let message =
                format!("the token would live for {found} s, at most {max} may be requested");
            return no(reason::EXPIRATION_TOO_LONG, message);
        }
        let namespace = claims.namespace();
        if !self.config.namespaces.iter().any(|listed| listed == namespace) {
            let message = format!("pods of the namespace `{namespace}` have no runs");
            return no(reason::NAMESPACE_UNLISTED, message);
        }
        let Some(pod) = claims.pod() else {
            return no(reason::POD_WITHOUT_RUN, "the token is bound to no pod".to_owned());
        };
        self.config.run_of(&pod.name).ok_or_else(|| {
            let prefix = &self.config.pod_prefix;
            let message = format!("expected a pod `{prefix}UUID…`, found `{}`", pod.name);
            of_host(reason::POD_WITHOUT_RUN, message)
        })
    }

    fn list(&self, claims: &ServiceAccountClaims) -> SignerList {
        let decided = |audience: &&Audience| self.config.decide.contains(audience);
        let passed = |audience: &&Audience| self.config.pass.contains(audience);
        let of_decide = claims.audiences().iter().filter(decided).count();
        let of_pass = claims.audiences().iter().filter(passed).count();
        match (of_decide, of_pass) {
            (all, 0) if all == claims.audiences().len() => SignerList::Decide,
            (0, 0) => SignerList::None,
            // An audience of `pass` that has become a cloud's is among them.
            _ => SignerList::Both,
        }
    }

    /// The answer to claims that must not be signed: a refusal; or in shadow the signature, with the reasons on record.
    async fn refused_or_shadowed(
        &self,
        asked: &RequestedToken<'_>,
        run: Option<&RunId>,
        reasons: Vec<Reason>,
    ) -> Result<ServiceAccountSignature, Problem> {
        let Some(claims) = asked.claims.filter(|_| !self.enforces()) else {
            return Err(self.refused(asked, run, reasons).await);
        };
        let (issuer, of_shadow) = (self.issuer(claims)?, Arc::clone(claims));
        let signed = blocking(move || {
            let signature = issuer.sign_in_shadow(InShadow::of(&of_shadow));
            signature.map(|signature| (signature, issuer)).map_err(Problem::failed)
        });
        let (signature, issuer) = signed.await?;
        self.on_record_or_counted(asked, reasons, run, &signature, &issuer).await;
        Ok(signature)
    }

    /// Puts a refusal on record, and returns it. It is told also where it cannot be recorded: that gives nothing away.
    async fn refused(
        &self,
        asked: &RequestedToken<'_>,
        run: Option<&RunId>,
        reasons: Vec<Reason>,
    ) -> Problem {
        let record = self.record(asked, &reasons, run, None);
        if let Some(service) = self.service.get() {
            service.count_refusal(&reasons);
        }
        if !self.recorded(record).await {
            self.metrics.unrecorded.inc();
            let codes: Vec<_> = reasons.iter().map(|reason| reason.code.as_str()).collect();
            let codes = codes.join(" ");
            tracing::error!(codes, "a refusal of a service account's token is not on record");
        }
        let about = LogFields { run: run.map(ToString::to_string), ..LogFields::default() };
        Problem::refused(&description(&reasons), reasons, None).about(about)
    }

    /// Puts a signature on record, or counts and logs that it is not.
    async fn on_record_or_counted(
        &self,
        asked: &RequestedToken<'_>,
        reasons: Vec<Reason>,
        run: Option<&RunId>,
        signature: &ServiceAccountSignature,
        issuer: &Issuer,
    ) {
        let record = self.record(asked, &reasons, run, Some((signature, issuer)));
        if !self.recorded(record).await {
            self.metrics.unrecorded.inc();
            let claims = asked.claims.map(|claims| (claims.subject(), claims.token_id()));
            let (subject, jti) = claims.unwrap_or_default();
            let token = signature.token_digest().to_string();
            tracing::error!(
                subject,
                jti,
                token,
                list = asked.list.as_str(),
                "signed a service account's token that is not on record"
            );
        }
    }

    fn record(
        &self,
        asked: &RequestedToken<'_>,
        reasons: &[Reason],
        run: Option<&RunId>,
        signed: Option<(&ServiceAccountSignature, &Issuer)>,
    ) -> Result<Vec<u8>, serde_json::Error> {
        let record = ServiceAccountRecord {
            origin: &asked.request.origin,
            requester: &requester(asked.request),
            time: asked.time,
            changes: self.service.get().map(|service| service.changes()),
            claims: asked.claims.map(|claims| &**claims),
            list: asked.list,
            in_shadow: !self.enforces(),
            run,
            reasons,
            signed,
        };
        record.written()
    }

    /// Waits until a record is durable, for a while. False when it is not known to be.
    async fn recorded(&self, record: Result<Vec<u8>, serde_json::Error>) -> bool {
        let (Ok(record), Some(service)) = (record, self.service.get()) else { return false };
        let recorded = service.on_record(record);
        matches!(tokio::time::timeout(RECORD_WAIT, recorded).await, Ok(Ok(())))
    }

    /// The issuer that signs these claims now.
    fn issuer(&self, claims: &ServiceAccountClaims) -> Result<Issuer, Problem> {
        let keys = self.keys.loaded();
        let issuer = keys.issuer_for(claims.audiences(), self.time()).cloned();
        issuer.ok_or_else(|| Problem::unavailable("no key is active"))
    }

    fn with_clouds<T>(&self, of: impl FnOnce(&AudienceClouds) -> T) -> T {
        match self.service.get() {
            Some(service) => service.with_clouds(of),
            None => of(&self.clouds),
        }
    }

    fn clock(&self) -> &dyn Clock {
        self.service.get().map_or(&*self.clock, |service| service.clock())
    }

    /// The time, which never goes back; or the last one, where the clock fails: keys must be chosen by some time.
    fn time(&self) -> u64 {
        match self.clock().now() {
            Ok(now) => self.last_now.fetch_max(now, Ordering::Relaxed).max(now),
            Err(_) => self.last_now.load(Ordering::Relaxed),
        }
    }
}

/// Runs a signature on a thread that may block: the key may be elsewhere.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    tokio::task::spawn_blocking(work).await.map_err(Problem::failed)?
}

fn requester(request: &SignRequest) -> Requester {
    Requester::ApiServer { uid: request.uid }
}

fn problem(reasons: Vec<Reason>, run: &RunId) -> Problem {
    let about = LogFields { run: Some(run.to_string()), ..LogFields::default() };
    Problem::refused(&description(&reasons), reasons, None).about(about)
}

/// The codes and messages of reasons, which the API server shows to whoever asked it.
fn description(reasons: &[Reason]) -> String {
    let reasons: Vec<_> =
        reasons.iter().map(|reason| format!("{}: {}", reason.code, reason.message)).collect();
    reasons.join("; ")
}

fn of_host(code: &str, message: String) -> Reason {
    Reason { code: code.to_owned(), message, source: ReasonSource::Host, binding: None }
}
