//! A custody of a device outside of the process: everything that it says is checked.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use countersign_issuer::{CustodyError, CustodyFailure, CustodyHealth, KeyCustody};
use countersign_signing::{Algorithm, PublicKey, SignError, Signer};
use sha2::{Digest, Sha256};

use crate::device::{DeviceError, KeyDevice};
use crate::probe::Prober;

/// The time for which a key counts as one that signs after it has signed a token.
const IN_USE: Duration = Duration::from_secs(3600);

/// The bounds of a custody.
#[derive(Debug, Clone, Copy)]
pub struct ExternalConfig {
    /// The maximum of signatures at a time; more get none.
    pub max_in_flight: usize,
    /// The number of signatures that the device makes at a time.
    pub parallel: usize,
    /// The time from one probe of every key to the next, while all is well.
    pub probe_every: Duration,
    /// The same after a failure.
    pub retry_every: Duration,
}

/// Keys in a device: [`KeyCustody`] over a [`KeyDevice`].
pub struct ExternalCustody {
    shared: Arc<Shared>,
    prober: Prober,
}

pub(crate) struct Shared {
    device: Arc<dyn KeyDevice>,
    config: ExternalConfig,
    health: Arc<CustodyHealth>,
    in_flight: AtomicUsize,
    probes: AtomicU64,
    /// The keys that somebody holds.
    keys: Mutex<BTreeMap<String, Weak<DeviceKey>>>,
    /// Wakes whoever probes.
    wake: crate::probe::Wake,
}

/// A key of the device.
struct DeviceKey {
    shared: Arc<Shared>,
    public: PublicKey,
    /// The last token that it signed.
    signed: Mutex<Option<Instant>>,
}

/// A place among the signatures that are being made.
struct Place<'s>(&'s AtomicUsize);

impl ExternalCustody {
    /// The keys of a device. Nothing is asked of it yet.
    ///
    /// # Errors
    /// When the metrics cannot be made, or the system gives no thread.
    pub fn new(
        device: Arc<dyn KeyDevice>,
        config: ExternalConfig,
    ) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        let wake = crate::probe::Wake::default();
        let shared = Arc::new(Shared {
            device,
            config,
            health: Arc::new(CustodyHealth::new()?),
            in_flight: AtomicUsize::new(0),
            probes: AtomicU64::new(0),
            keys: Mutex::new(BTreeMap::new()),
            wake: wake.clone(),
        });
        let prober = Prober::start(Arc::downgrade(&shared), wake, config.probe_every)?;
        Ok(Self { shared, prober })
    }
}

impl Drop for ExternalCustody {
    fn drop(&mut self) {
        self.prober.stop();
    }
}

impl KeyCustody for ExternalCustody {
    fn list(&self) -> Result<Vec<String>, CustodyError> {
        self.shared.device.list().map_err(|error| self.shared.error(error))
    }

    fn make(&self, algorithm: Algorithm) -> Result<PublicKey, CustodyError> {
        let shared = &self.shared;
        let public = shared.device.make(algorithm).map_err(|error| shared.error(error))?;
        // Before a plan names it: a key that does not sign is published for nothing.
        if let Err(error) = shared.probe(&public) {
            let _ = shared.device.destroy(public.kid());
            return Err(shared.error(error));
        }
        Ok(public)
    }

    fn signer(&self, kid: &str) -> Result<Arc<dyn Signer>, CustodyError> {
        let shared = &self.shared;
        if let Some(key) = shared.keys().get(kid).and_then(Weak::upgrade) {
            return Ok(key);
        }
        let public = shared.device.public(kid).map_err(|error| shared.error(error))?;
        let public = public.ok_or_else(|| CustodyError::Missing {
            custody: shared.device.name(),
            kid: kid.escape_debug().take(64).collect(),
        })?;
        if public.kid() != kid {
            let said = format!("under the name of key {kid} it has key {}", public.kid());
            let error = DeviceError::new(CustodyFailure::WrongKey, said);
            return Err(shared.error(error));
        }
        shared.probe(&public).map_err(|error| shared.error(error))?;
        let key = DeviceKey { shared: Arc::clone(shared), public, signed: Mutex::new(None) };
        let key = Arc::new(key);
        shared.keys().insert(kid.to_owned(), Arc::downgrade(&key));
        Ok(key)
    }

    fn destroy(&self, kid: &str) -> Result<(), CustodyError> {
        self.shared.keys().remove(kid);
        self.shared.device.destroy(kid).map_err(|error| self.shared.error(error))
    }

    fn health(&self) -> Option<Arc<CustodyHealth>> {
        Some(Arc::clone(&self.shared.health))
    }

    fn waiting_signatures(&self) -> usize {
        self.shared.config.parallel
    }
}

impl Signer for DeviceKey {
    fn public(&self) -> &PublicKey {
        &self.public
    }

    fn sign(&self, input: &[u8]) -> Result<Vec<u8>, SignError> {
        let shared = &self.shared;
        *self.signed.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        // A request does not wait for a device that is gone: probes find out when it is back.
        if shared.health.problem().is_some() {
            return Err(SignError);
        }
        let _place = shared.place().ok_or_else(|| {
            let said = format!("{} signatures at a time", shared.config.max_in_flight);
            shared.failed(&DeviceError::new(CustodyFailure::Busy, said));
            SignError
        })?;
        shared.signature(&self.public, input).map_err(|error| {
            shared.failed(&error);
            SignError
        })
    }
}

impl DeviceKey {
    /// True if it has signed a token of late.
    fn is_in_use(&self) -> bool {
        let signed = self.signed.lock().unwrap_or_else(PoisonError::into_inner);
        signed.is_some_and(|signed| signed.elapsed() < IN_USE)
    }
}

impl Shared {
    fn keys(&self) -> MutexGuard<'_, BTreeMap<String, Weak<DeviceKey>>> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn place(&self) -> Option<Place<'_>> {
        let place = Place(&self.in_flight);
        let before = self.in_flight.fetch_add(1, Ordering::AcqRel);
        (before < self.config.max_in_flight).then_some(place)
    }

    /// A signature of the key over `input`, in the form of a JWS. Nothing that the key does not verify is returned.
    fn signature(&self, public: &PublicKey, input: &[u8]) -> Result<Vec<u8>, DeviceError> {
        let begun = Instant::now();
        let digest = Sha256::digest(input).into();
        let given = self.device.sign(public.kid(), public.algorithm(), &digest)?;
        let signature = public.verified(input, &given).ok_or_else(|| {
            let (kid, bytes) = (public.kid(), given.len());
            let said = format!("key {kid} does not verify what it signed ({bytes} bytes)");
            DeviceError::new(CustodyFailure::WrongSignature, said)
        })?;
        self.health.signed(begun.elapsed());
        Ok(signature)
    }

    /// Has the key sign what no token is: it has no dot, and is another one each time.
    fn probe(&self, public: &PublicKey) -> Result<(), DeviceError> {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let number = self.probes.fetch_add(1, Ordering::Relaxed);
        let input = format!("countersign custody probe {} {number}", since.as_nanos());
        self.signature(public, input.as_bytes()).map(drop)
    }

    /// Probes every key that somebody holds. Gives the time to the next time.
    pub(crate) fn probe_all(&self) -> Duration {
        let held: Vec<_> = self.keys().values().filter_map(Weak::upgrade).collect();
        self.keys().retain(|_, key| key.strong_count() > 0);
        let mut is_well = true;
        for key in held {
            let Err(error) = self.probe(&key.public) else { continue };
            let is_gone = matches!(self.device.public(key.public.kid()), Ok(None));
            if is_gone && !key.is_in_use() {
                // Another replica destroys the keys that are removed: nothing is signed with them. One that is to sign
                // all the same fails then, and counts as in use.
                tracing::debug!(kid = key.public.kid(), "a key that is not in use is gone");
            } else if error.failure != CustodyFailure::Busy {
                self.failed(&error);
                is_well = false;
            }
        }
        if is_well && self.health.recovered() {
            tracing::info!(custody = self.device.name(), "the custody of keys signs again");
        }
        if self.health.problem().is_some() {
            self.config.retry_every
        } else {
            self.config.probe_every
        }
    }

    fn failed(&self, error: &DeviceError) {
        if self.health.failed(error.failure, &error.said) {
            let (custody, code) = (self.device.name(), error.failure.as_str());
            let said = &error.said;
            tracing::error!(custody, code, said, "no token is signed: the custody of keys failed");
            self.wake.within(self.config.retry_every);
        }
    }

    /// The error of the trait. Keys that cannot be had or made do not stop those that sign.
    fn error(&self, error: DeviceError) -> CustodyError {
        CustodyError::Failed { custody: self.device.name(), source: Box::new(error) }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}
