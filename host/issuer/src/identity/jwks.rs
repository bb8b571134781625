//! Key sets of other issuers, and of checkpoints.

use std::fmt;
use std::sync::Arc;

use countersign::check_json;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::key_source::WantedKey;
use super::verification_key::{VerificationAlgorithm, VerificationKey, shown};

/// The maximum size of a key set, in bytes.
pub(super) const MAX_KEY_SET_BYTES: usize = 256 << 10;
const MAX_KEYS: usize = 256;

/// The maximum depth of a JWK that is used: a member of a member.
const MAX_DEPTH: usize = 8;

/// The number of unusable keys that a message names.
const NAMED: usize = 8;

/// The keys of a JWK Set (RFC 7517 section 5) that verify signatures.
///
/// Keys of one `kid` are told apart by `use`, `key_ops`, `alg` and `kty`, and a key that is there twice is one (section
/// 4.5). A key that cannot be used is passed over, with its reason, and does not affect the others.
#[derive(Debug, Clone, Default)]
pub struct Jwks {
    keys: Vec<Entry>,
    unusable: Vec<UnusableKey>,
}

#[derive(Debug, Clone)]
struct Entry {
    kid: Option<String>,
    key: Arc<VerificationKey>,
}

/// A key of a set that is passed over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnusableKey {
    /// Its place in the set, from 1.
    pub number: usize,
    /// Its `kid`, where it has one.
    pub kid: Option<String>,
    /// The reason, about "it".
    pub reason: String,
}

impl fmt::Display for UnusableKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kid {
            Some(kid) => write!(f, "key `{}`: {}", shown(kid), self.reason),
            None => write!(f, "key {}: {}", self.number, self.reason),
        }
    }
}

/// A text that is not a key set with a key that can be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a JWK Set (RFC 7517) with a key that can be used: {problem}")]
pub struct JwksError {
    problem: String,
}

/// The reason that a set has no key for a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum NoKey {
    /// It has no key of the token's `kid`; it may have been published since.
    Unknown,
    /// It has one that cannot be used for the token: the reason.
    Unfit(String),
}

/// The members of a set. Others are ignored, whatever they have (section 5).
#[derive(Deserialize)]
struct Set<'t> {
    #[serde(borrow)]
    keys: Vec<&'t RawValue>,
}

impl Jwks {
    /// Parses a JWK Set.
    ///
    /// # Errors
    /// When the text is not one, or has no key that can be used.
    pub fn parse(text: &[u8]) -> Result<Self, JwksError> {
        let error = |problem: String| JwksError { problem };
        if text.len() > MAX_KEY_SET_BYTES {
            return Err(error(format!("longer than {MAX_KEY_SET_BYTES} bytes")));
        }
        // Members are skipped without recursion, so their depth does not matter here.
        let set: Set<'_> = str::from_utf8(text)
            .ok()
            .and_then(|text| serde_json::from_str(text).ok())
            .ok_or_else(|| error("not a JSON object with one list `keys`".to_owned()))?;
        if set.keys.len() > MAX_KEYS {
            return Err(error(format!("more than {MAX_KEYS} keys")));
        }
        let mut found = Self::default();
        for (number, jwk) in (1..).zip(set.keys) {
            if let Err((kid, reason)) = found.add(jwk.get()) {
                found.unusable.push(UnusableKey { number, kid, reason });
            }
        }
        if found.keys.is_empty() {
            return Err(error(found.why_unusable()));
        }
        Ok(found)
    }

    /// Adds a JWK, unless it is there.
    fn add(&mut self, jwk: &str) -> Result<(), (Option<String>, String)> {
        check_json(jwk.as_bytes(), MAX_KEY_SET_BYTES, MAX_DEPTH)
            .map_err(|problem| (None, format!("it is not a JWK: {problem}")))?;
        let jwk: Map<String, Value> = serde_json::from_str(jwk)
            .map_err(|_| (None, "it is not a JWK: expected an object".to_owned()))?;
        let kid = match jwk.get("kid") {
            None => None,
            Some(Value::String(kid)) => Some(kid.clone()),
            Some(_) => return Err((None, "its `kid` is not a text".to_owned())),
        };
        let key = VerificationKey::parse(&jwk).map_err(|reason| (kid.clone(), reason))?;
        let is_there = self.keys.iter().any(|entry| {
            entry.kid == kid
                && entry.key.is_same_key(&key)
                && key.algorithms().all(|algorithm| entry.verifies(algorithm))
        });
        if !is_there {
            self.keys.push(Entry { kid, key: Arc::new(key) });
        }
        Ok(())
    }

    /// The keys that are passed over.
    pub fn unusable(&self) -> &[UnusableKey] {
        &self.unusable
    }

    /// The keys that can be used: each `kid`, and the key.
    pub fn usable(&self) -> impl ExactSizeIterator<Item = (Option<&str>, &VerificationKey)> {
        self.keys.iter().map(|entry| (entry.kid.as_deref(), &*entry.key))
    }

    /// The key, and its `kid`, where there is one only.
    pub(crate) fn only(&self) -> Option<(String, Arc<VerificationKey>)> {
        match self.keys.as_slice() {
            [Entry { kid: Some(kid), key }] => Some((kid.clone(), Arc::clone(key))),
            _ => None,
        }
    }

    /// The key for a token with this `kid` and `alg`; for one without `kid` the only one of the set (OpenID Connect Core
    /// section 10.1).
    pub(super) fn select(&self, wanted: WantedKey<'_>) -> Result<Arc<VerificationKey>, NoKey> {
        let WantedKey { kid, algorithm } = wanted;
        let candidates = || self.keys.iter().filter(|e| kid.is_none() || e.kid.as_deref() == kid);
        let Some(first) = candidates().next() else {
            let mut unusable = self.unusable.iter();
            return Err(match unusable.find(|key| kid.is_some() && key.kid.as_deref() == kid) {
                Some(key) => NoKey::Unfit(format!("{key}; it is passed over")),
                None => NoKey::Unknown,
            });
        };
        if kid.is_none() && !candidates().all(|entry| entry.key.is_same_key(&first.key)) {
            let reason = "the token has no `kid`, and its issuer has several keys";
            return Err(NoKey::Unfit(reason.to_owned()));
        }
        let mut fit = candidates().filter(|entry| entry.verifies(algorithm));
        let Some(key) = fit.next().map(|entry| &entry.key) else {
            let algorithm = algorithm.as_str();
            return Err(NoKey::Unfit(format!("the key of the token is not for {algorithm}")));
        };
        if fit.any(|other| !other.key.is_same_key(key)) {
            let reason = "its issuer has several keys of the token's `kid` and `alg`";
            return Err(NoKey::Unfit(reason.to_owned()));
        }
        Ok(Arc::clone(key))
    }

    /// The reasons that no key can be used.
    fn why_unusable(&self) -> String {
        if self.unusable.is_empty() {
            return "it has no keys".to_owned();
        }
        let named = self.unusable.iter().take(NAMED).map(ToString::to_string);
        let mut text = named.collect::<Vec<_>>().join("; ");
        if let Some(more @ 1..) = self.unusable.len().checked_sub(NAMED) {
            text.push_str(&format!("; and {more} more"));
        }
        text
    }
}

impl Entry {
    fn verifies(&self, algorithm: VerificationAlgorithm) -> bool {
        self.key.algorithms().any(|own| own == algorithm)
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::prelude::BASE64_URL_SAFE_NO_PAD;
    use countersign_signing::{Algorithm, SigningKey};
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::identity::roca::tests::vulnerable_modulus;

    fn jwk(algorithm: Algorithm, kid: &str) -> Value {
        let (key, _) = SigningKey::generate(algorithm).unwrap();
        let mut jwk = serde_json::to_value(key.public()).unwrap();
        jwk["kid"] = kid.into();
        jwk
    }

    fn with(jwk: &Value, members: &Value) -> Value {
        let mut jwk = jwk.clone();
        for (name, value) in members.as_object().unwrap() {
            jwk[name] = value.clone();
        }
        jwk
    }

    fn set(keys: &[Value]) -> Result<Jwks, JwksError> {
        Jwks::parse(json!({"keys": keys}).to_string().as_bytes())
    }

    fn wanted(kid: Option<&str>, algorithm: VerificationAlgorithm) -> WantedKey<'_> {
        WantedKey { kid, algorithm }
    }

    const RS256: VerificationAlgorithm = VerificationAlgorithm::Rs256;
    const ES256: VerificationAlgorithm = VerificationAlgorithm::Es256;

    #[test]
    fn keys_of_one_kid_are_told_apart() {
        let (rsa, other) = (jwk(Algorithm::Rs256, "k"), jwk(Algorithm::Rs256, "k"));
        let ec = jwk(Algorithm::Es256, "k");
        let mut without_alg = rsa.clone();
        without_alg.as_object_mut().unwrap().remove("alg");
        for (what, beside) in [
            ("by use", with(&other, &json!({"use": "enc", "alg": "RSA-OAEP"}))),
            ("by key_ops", with(&other, &json!({"key_ops": ["encrypt"]}))),
            ("by alg", with(&other, &json!({"alg": "PS256"}))),
            ("by kty", ec.clone()),
            ("one key twice", rsa.clone()),
            ("one key twice, one without alg", without_alg),
        ] {
            for keys in [[rsa.clone(), beside.clone()], [beside, rsa.clone()]] {
                let alone = set(std::slice::from_ref(&rsa))
                    .unwrap()
                    .select(wanted(Some("k"), RS256))
                    .unwrap();
                let key = set(&keys).unwrap().select(wanted(Some("k"), RS256)).unwrap();
                assert!(key.is_same_key(&alone), "{what}");
            }
        }
        let both = set(&[rsa.clone(), other]).unwrap();
        assert!(matches!(both.select(wanted(Some("k"), RS256)), Err(NoKey::Unfit(_))), "ambiguous");
        assert_eq!(both.select(wanted(Some("l"), RS256)).unwrap_err(), NoKey::Unknown);
        let both = set(&[rsa, ec]).unwrap();
        assert!(both.select(wanted(Some("k"), ES256)).is_ok());
        assert!(matches!(both.select(wanted(None, RS256)), Err(NoKey::Unfit(_))), "which one?");
    }

    #[test]
    fn the_only_key_needs_no_kid() {
        let rsa = jwk(Algorithm::Rs256, "k");
        let encryption = with(&jwk(Algorithm::Rs256, "e"), &json!({"use": "enc"}));
        let mut nameless = rsa.clone();
        nameless.as_object_mut().unwrap().remove("kid");
        for keys in [vec![rsa.clone()], vec![nameless], vec![encryption, rsa.clone(), rsa]] {
            let set = set(&keys).unwrap();
            assert!(set.select(wanted(None, RS256)).is_ok());
            assert!(matches!(set.select(wanted(None, ES256)), Err(NoKey::Unfit(_))));
        }
    }

    #[test]
    fn a_key_that_cannot_be_used_does_not_affect_the_others() {
        let good = jwk(Algorithm::Es256, "good");
        let rsa = jwk(Algorithm::Rs256, "bad");
        let n = |bytes: &[u8]| json!({"n": BASE64_URL_SAFE_NO_PAD.encode(bytes)});
        let deep = (0..100).fold(json!(1), |value, _| json!([value]));
        for (bad, reason) in [
            (with(&rsa, &json!({"x": deep})), "deep"),
            (with(&rsa, &json!({"kty": "AKP"})), "`kty`"),
            (with(&rsa, &json!({"use": "enc"})), "`use`"),
            (with(&rsa, &json!({"use": 1})), "`use`"),
            (with(&rsa, &json!({"key_ops": "verify"})), "`key_ops`"),
            (with(&rsa, &json!({"alg": "RS512"})), "`alg`"),
            (with(&rsa, &json!({"alg": "ES256"})), "`alg`"),
            (with(&rsa, &json!({"alg": null})), "`alg`"),
            (with(&rsa, &json!({"d": "AQAB"})), "private part"),
            (with(&rsa, &json!({"kid": 1})), "`kid`"),
            (with(&rsa, &json!({"e": "AQ"})), "`e`"),
            (with(&rsa, &n(&[0xff; 128])), "1024 bits"),
            (with(&rsa, &n(&[0x7f; 256])), "2047 bits"),
            (with(&rsa, &n(&[0xff; 1024])), "8192 bits"),
            (with(&rsa, &n(&[[0].as_slice(), &[0xff; 256]].concat())), "zero byte"),
            (with(&rsa, &n(&vulnerable_modulus())), "ROCA"),
            (with(&good, &json!({"crv": "P-521", "kid": "bad"})), "curve"),
            (with(&good, &json!({"crv": "P-384", "kid": "bad"})), "48 bytes"),
            (with(&good, &json!({"x": "AAAA", "kid": "bad"})), "32 bytes"),
            (
                with(&good, &json!({"x": BASE64_URL_SAFE_NO_PAD.encode([7; 32]), "kid": "bad"})),
                "no point",
            ),
            (json!({"kty": "OKP", "crv": "Ed25519", "x": "AAAA", "kid": "bad"}), "32 bytes"),
            (json!({"kty": "oct", "k": "AAAA", "kid": "bad"}), "`kty`"),
            (json!([]), "an object"),
            (json!(null), "an object"),
        ] {
            let both = set(&[bad.clone(), good.clone()]).unwrap();
            assert!(both.select(wanted(Some("good"), ES256)).is_ok(), "{bad}");
            let [unusable] = both.unusable() else { panic!("{bad}") };
            assert!(unusable.to_string().contains(reason), "{unusable}: expected {reason}");
            let alone = set(std::slice::from_ref(&bad)).unwrap_err().to_string();
            assert!(alone.contains(reason), "{alone}");
            if unusable.kid.is_some() {
                let error = both.select(wanted(Some("bad"), RS256)).unwrap_err();
                let NoKey::Unfit(why) = error else { panic!("{bad}: {error:?}") };
                assert!(why.contains(reason), "{why}");
            }
        }
        let twice = format!("{{\"keys\":[{{\"kty\":\"EC\",\"kty\":\"RSA\"}},{good}]}}");
        assert_eq!(Jwks::parse(twice.as_bytes()).unwrap().unusable().len(), 1);
        let deep = format!("{{\"a\":{}1{},\"keys\":[{good}]}}", "[".repeat(999), "]".repeat(999));
        assert!(Jwks::parse(deep.as_bytes()).is_ok());
        for none in ["", "[]", "{}", "{\"keys\":{}}", "{\"keys\":[]}", "{\"keys\":[],\"keys\":[]}"]
        {
            assert!(Jwks::parse(none.as_bytes()).is_err(), "{none}");
        }
    }

    /// JSON of any form.
    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            "\\PC{0,12}".prop_map(Value::from),
            prop::sample::select(&["RSA", "EC", "OKP", "P-256", "Ed25519", "sig", "ES256", "AQAB"])
                .prop_map(Value::from),
        ];
        let name = prop::sample::select(&[
            "kty", "crv", "use", "key_ops", "alg", "n", "e", "x", "y", "kid",
        ]);
        leaf.prop_recursive(4, 32, 8, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map(name.clone().prop_map(str::to_owned), inner, 0..8)
                    .prop_map(|members| json!(members)),
            ]
        })
    }

    proptest! {
        /// Whatever is published beside a key, the key can be used, and each of the others is used or passed over.
        #[test]
        fn nothing_beside_a_key_affects_it(
            others in prop::collection::vec(json(), 0..6),
            bytes in prop::collection::vec(any::<u8>(), 0..64),
        ) {
            let good = json!({"kty": "EC", "crv": "P-256", "kid": "the good one",
                "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
                "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"});
            let keys: Vec<_> = others.iter().cloned().chain([good]).collect();
            let found = set(&keys).unwrap();
            prop_assert!(found.select(wanted(Some("the good one"), ES256)).is_ok());
            prop_assert!(found.unusable().len() < keys.len());
            let _ = Jwks::parse(&bytes);
        }
    }
}
