//! A token, by the module of its vendor.

use std::collections::HashMap;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use countersign_signing::{Algorithm, PublicKey, is_kid};
use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::types::AuthPin;
use zeroize::Zeroizing;

use super::protocol::{Answer, Failed, FailedKind, Request};
use crate::device::MAX_KEYS;

/// P-256 (RFC 5480 section 2.1.1.1).
const P256: &[u8] = &[0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
/// The tag, the length and the form of an uncompressed point in an octet string.
const POINT_IN_OCTETS: &[u8] = &[0x04, 0x41, 0x04];
/// A `DigestInfo` with a SHA-256, up to it (RFC 8017 section 9.2).
const SHA256_INFO: &[u8] = &[
    0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05,
    0x00, 0x04, 0x20,
];

type Answered<T> = Result<T, Failed>;

/// A token that is logged in to.
pub(super) struct Token {
    session: Session,
    label: String,
    /// The private keys that were found, with their checks passed.
    found: HashMap<String, (ObjectHandle, Algorithm)>,
    /// Last: a session is closed before its module is.
    _module: Pkcs11,
}

impl Token {
    /// Loads a module, and logs in to the one token of this name.
    pub(super) fn open(
        module: &str,
        name: &str,
        pin: Zeroizing<String>,
        label: String,
    ) -> Answered<Self> {
        let context = Pkcs11::new(module).map_err(failed)?;
        let arguments = CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK);
        context.initialize(arguments).map_err(failed)?;
        let mut slots = context.get_slots_with_token().map_err(failed)?;
        slots.retain(|slot| context.get_token_info(*slot).is_ok_and(|info| info.label() == name));
        let [slot] = slots.as_slice() else {
            let said = format!("{} tokens have the label `{name}`, expected one", slots.len());
            return Err(Failed { kind: FailedKind::Unreachable, said });
        };
        let session = context.open_rw_session(*slot).map_err(failed)?;
        let pin = AuthPin::from(pin.to_string());
        session.login(UserType::User, Some(&pin)).map_err(failed)?;
        Ok(Self { session, label, found: HashMap::new(), _module: context })
    }

    pub(super) fn answer(&mut self, request: Request) -> Answered<Answer> {
        match request {
            Request::Open { .. } => Err(malformed("it is open already")),
            Request::List => self.list().map(Answer::Kids),
            Request::Make { algorithm } => {
                self.make(algorithm).and_then(|key| jwk(&key)).map(|jwk| Answer::Key(Some(jwk)))
            }
            Request::Public { kid } => match self.public(&kid) {
                Err(failed) if failed.kind == FailedKind::NoKey => Ok(Answer::Key(None)),
                public => public.and_then(|key| jwk(&key)).map(|jwk| Answer::Key(Some(jwk))),
            },
            Request::Sign { kid, algorithm, sha256 } => self.sign(&kid, algorithm, &sha256),
            Request::Destroy { kid } => self.destroy(&kid).map(|()| Answer::Destroyed),
        }
    }

    fn label_of(&self, kid: &str) -> Attribute {
        Attribute::Label(format!("{}/{kid}", self.label).into_bytes())
    }

    fn objects(&self, class: ObjectClass, kid: &str) -> Answered<Vec<ObjectHandle>> {
        let template = [Attribute::Class(class), Attribute::Token(true), self.label_of(kid)];
        self.session.find_objects(&template).map_err(failed)
    }

    fn object(&self, class: ObjectClass, kid: &str) -> Answered<ObjectHandle> {
        match self.objects(class, kid)?.as_slice() {
            [object] => Ok(*object),
            [] => Err(Failed { kind: FailedKind::NoKey, said: "the token has no such key".into() }),
            _ => Err(wrong_key("several objects have the label of one key")),
        }
    }

    fn list(&self) -> Answered<Vec<String>> {
        let template = [Attribute::Class(ObjectClass::PRIVATE_KEY), Attribute::Token(true)];
        let mut kids = Vec::new();
        let prefix = format!("{}/", self.label);
        for object in self.session.find_objects(&template).map_err(failed)? {
            let label = self.session.get_attributes(object, &[AttributeType::Label]);
            let label = label.map_err(failed)?.into_iter().find_map(|attribute| match attribute {
                Attribute::Label(label) => String::from_utf8(label).ok(),
                _ => None,
            });
            kids.extend(label.and_then(|label| label.strip_prefix(&prefix).map(str::to_owned)));
            if kids.len() > MAX_KEYS {
                return Err(malformed("it has more keys than an issuer can have"));
            }
        }
        // One that is being made has no name yet.
        kids.retain(|kid| is_kid(kid));
        Ok(kids)
    }

    /// The private key of this `kid`, which must not be one that can be read.
    fn private(&mut self, kid: &str) -> Answered<(ObjectHandle, Algorithm)> {
        if let Some(found) = self.found.get(kid) {
            return Ok(*found);
        }
        let object = self.object(ObjectClass::PRIVATE_KEY, kid)?;
        let wanted = [AttributeType::Sensitive, AttributeType::Extractable, AttributeType::KeyType];
        let attributes = self.session.get_attributes(object, &wanted).map_err(failed)?;
        let has = |attribute: Attribute| attributes.contains(&attribute);
        if !has(Attribute::Sensitive(true)) || !has(Attribute::Extractable(false)) {
            return Err(wrong_key("the token would give the private key to whoever asks"));
        }
        let algorithm = if has(Attribute::KeyType(KeyType::RSA)) {
            Algorithm::Rs256
        } else if has(Attribute::KeyType(KeyType::EC)) {
            Algorithm::Es256
        } else {
            return Err(wrong_key("neither an RSA key nor an EC key"));
        };
        self.found.insert(kid.to_owned(), (object, algorithm));
        Ok((object, algorithm))
    }

    fn public(&mut self, kid: &str) -> Answered<PublicKey> {
        let (_, algorithm) = self.private(kid)?;
        let object = self.object(ObjectClass::PUBLIC_KEY, kid)?;
        self.public_of(object, algorithm)
    }

    fn public_of(&self, object: ObjectHandle, algorithm: Algorithm) -> Answered<PublicKey> {
        let wanted: &[AttributeType] = match algorithm {
            Algorithm::Rs256 => &[AttributeType::Modulus, AttributeType::PublicExponent],
            Algorithm::Es256 => &[AttributeType::EcParams, AttributeType::EcPoint],
        };
        let attributes = self.session.get_attributes(object, wanted).map_err(failed)?;
        let key = match attributes.as_slice() {
            [Attribute::Modulus(modulus), Attribute::PublicExponent(exponent)] => {
                PublicKey::from_rsa(modulus, exponent).ok()
            }
            [Attribute::EcParams(curve), Attribute::EcPoint(point)] if curve == P256 => {
                // In an octet string as the standard has it, and without one as some devices do.
                let in_octets = point.strip_prefix(POINT_IN_OCTETS);
                let point = in_octets.or_else(|| point.strip_prefix(&[4]));
                let numbers = point.and_then(|point| point.split_at_checked(32));
                numbers.and_then(|(x, y)| PublicKey::from_point(x, y).ok())
            }
            _ => None,
        };
        key.ok_or_else(|| malformed("the public half is not that of an RSA key or one on P-256"))
    }

    fn make(&mut self, algorithm: Algorithm) -> Answered<PublicKey> {
        // Its name follows from its public half, and several replicas may be making keys. One that a crash leaves under
        // such a name is never used.
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let new = self.label_of(&format!("new-{}-{}", std::process::id(), since.as_nanos()));
        let mut of_public = vec![Attribute::Token(true), Attribute::Verify(true), new.clone()];
        let of_private = [
            Attribute::Token(true),
            Attribute::Private(true),
            Attribute::Sensitive(true),
            Attribute::Extractable(false),
            Attribute::Sign(true),
            new,
        ];
        let mechanism = match algorithm {
            Algorithm::Rs256 => {
                of_public.push(Attribute::ModulusBits(2048.into()));
                of_public.push(Attribute::PublicExponent(vec![1, 0, 1]));
                Mechanism::RsaPkcsKeyPairGen
            }
            Algorithm::Es256 => {
                of_public.push(Attribute::EcParams(P256.to_vec()));
                Mechanism::EccKeyPairGen
            }
        };
        let (public, private) =
            self.session.generate_key_pair(&mechanism, &of_public, &of_private).map_err(failed)?;
        let key = self.public_of(public, algorithm)?;
        for object in [private, public] {
            let named = [self.label_of(key.kid()), Attribute::Id(key.kid().as_bytes().to_vec())];
            self.session.update_attributes(object, &named).map_err(failed)?;
        }
        Ok(key)
    }

    fn sign(&mut self, kid: &str, algorithm: Algorithm, sha256: &str) -> Answered<Answer> {
        let digest = BASE64_STANDARD.decode(sha256).ok().filter(|digest| digest.len() == 32);
        let digest = digest.ok_or_else(|| malformed("not a SHA-256"))?;
        let (object, found) = self.private(kid)?;
        if found != algorithm {
            return Err(wrong_key("the key is of another type"));
        }
        let signed = match algorithm {
            Algorithm::Rs256 => {
                let info = [SHA256_INFO, &digest].concat();
                self.session.sign(&Mechanism::RsaPkcs, object, &info)
            }
            Algorithm::Es256 => self.session.sign(&Mechanism::Ecdsa, object, &digest),
        };
        match signed {
            Ok(signature) => Ok(Answer::Signature(BASE64_STANDARD.encode(signature))),
            // Another process has destroyed it since it was found.
            Err(Error::Pkcs11(RvError::KeyHandleInvalid | RvError::ObjectHandleInvalid, _)) => {
                self.found.remove(kid);
                self.object(ObjectClass::PRIVATE_KEY, kid)?;
                Err(malformed("the key is there, and its handle is not"))
            }
            Err(error) => Err(failed(error)),
        }
    }

    fn destroy(&mut self, kid: &str) -> Answered<()> {
        self.found.remove(kid);
        for class in [ObjectClass::PRIVATE_KEY, ObjectClass::PUBLIC_KEY] {
            for object in self.objects(class, kid)? {
                self.session.destroy_object(object).map_err(failed)?;
            }
        }
        Ok(())
    }
}

fn jwk(key: &PublicKey) -> Answered<String> {
    serde_json::to_string(key).map_err(|_| malformed("a key that is no JWK"))
}

fn malformed(said: &str) -> Failed {
    Failed { kind: FailedKind::Malformed, said: said.to_owned() }
}

fn wrong_key(said: &str) -> Failed {
    Failed { kind: FailedKind::WrongKey, said: said.to_owned() }
}

/// The failure of an error of the module, by its name: the texts of the standard are long.
fn failed(error: Error) -> Failed {
    let (kind, said) = match &error {
        Error::Pkcs11(code, function) => {
            let kind = match code {
                RvError::PinIncorrect
                | RvError::PinInvalid
                | RvError::PinLenRange
                | RvError::PinExpired
                | RvError::PinLocked => FailedKind::Pin,
                RvError::DeviceError
                | RvError::DeviceRemoved
                | RvError::TokenNotPresent
                | RvError::TokenNotRecognized
                | RvError::SessionClosed
                | RvError::SessionHandleInvalid
                | RvError::GeneralError
                | RvError::CryptokiNotInitialized => FailedKind::Unreachable,
                _ => FailedKind::Refused,
            };
            (kind, format!("{function}: {code:?}"))
        }
        Error::LibraryLoading(_) | Error::MissingSymbol(_) => {
            (FailedKind::Unreachable, format!("the module: {error}"))
        }
        _ => (FailedKind::Malformed, error.to_string()),
    };
    Failed { kind, said }
}
