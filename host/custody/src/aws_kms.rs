//! AWS KMS, or a service with its interface.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use countersign_aws::{Credentials, SigningRequest};
use countersign_issuer::CustodyFailure;
use countersign_signing::{Algorithm, PublicKey, is_kid};
use reqwest::{Client, Method, Url};
use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};

use crate::device::{DeviceError, KeyDevice, MAX_KEYS};

/// The maximum length of an answer, in bytes.
const MAX_ANSWER: usize = 256 << 10;
/// The maximum number of pages of a list, and the number of names on one.
const MAX_PAGES: usize = 200;
const PAGE: usize = 100;
/// The days for which AWS keeps a key that is to be destroyed: the fewest there can be. It signs nothing meanwhile.
const PENDING_DAYS: u32 = 7;

/// Gives the credentials, which may change.
pub type CredentialSource = Box<dyn Fn() -> Result<Credentials, String> + Send + Sync>;

/// The keys of an issuer in AWS KMS.
pub struct AwsKmsConfig {
    /// The region.
    pub region: String,
    /// The URL of a service that is not AWS's own.
    pub endpoint: Option<String>,
    /// The beginning of the names of the keys: `alias/ALIAS/KID`.
    pub alias: String,
    /// The maximum time of each request.
    pub timeout: Duration,
    /// The credentials.
    pub credentials: CredentialSource,
}

/// AWS KMS.
pub struct AwsKms {
    config: AwsKmsConfig,
    url: Url,
    client: Client,
    /// None once this is dropped.
    runtime: Option<Runtime>,
}

/// An answer that is an error of the service.
enum Refusal {
    /// There is no such key.
    NotFound,
    Other(DeviceError),
}

impl From<DeviceError> for Refusal {
    fn from(error: DeviceError) -> Self {
        Self::Other(error)
    }
}

impl From<Refusal> for DeviceError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::NotFound => Self::new(CustodyFailure::Refused, "there is no such key"),
            Refusal::Other(error) => error,
        }
    }
}

impl AwsKms {
    /// The service that a configuration names. Nothing is asked of it yet.
    ///
    /// # Errors
    /// When the endpoint is no URL, or the system gives no thread.
    pub fn new(config: AwsKmsConfig) -> Result<Self, DeviceError> {
        let error = |problem: String| DeviceError::unreachable(problem);
        let url = match &config.endpoint {
            Some(endpoint) => endpoint.clone(),
            None => format!("https://kms.{}.amazonaws.com/", config.region),
        };
        let url = Url::parse(&url).map_err(|invalid| error(format!("the endpoint: {invalid}")))?;
        if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
            return Err(error("the endpoint is not a URL of http or https".to_owned()));
        }
        // Requests have credentials in their headers: they go where they are sent, and nowhere else.
        let client = Client::builder()
            .timeout(config.timeout)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()
            .map_err(|failed| error(failed.to_string()))?;
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("countersign-aws-kms")
            .enable_all()
            .build()
            .map_err(|failed| error(failed.to_string()))?;
        Ok(Self { config, url, client, runtime: Some(runtime) })
    }

    /// The alias of a key, where the `kid` can be one: it is part of a name.
    fn alias(&self, kid: &str) -> Result<String, Refusal> {
        if is_kid(kid) {
            Ok(format!("alias/{}/{kid}", self.config.alias))
        } else {
            Err(Refusal::NotFound)
        }
    }

    /// Calls an operation.
    fn call(&self, operation: &str, request: &Value) -> Result<Value, Refusal> {
        let body = serde_json::to_vec(request)
            .map_err(|error| DeviceError::malformed(error.to_string()))?;
        let runtime = self.runtime.as_ref();
        let runtime = runtime.ok_or_else(|| DeviceError::unreachable("it is closed"))?;
        let (status, answer) = runtime.block_on(self.send(operation, body))?;
        let parsed: Option<Value> = serde_json::from_slice(&answer).ok();
        if status == 200 {
            // Some operations answer nothing, which AWS leaves empty and others write as `null`.
            let is_nothing = answer.is_empty() || parsed.as_ref().is_some_and(Value::is_null);
            let empty = is_nothing.then(|| json!({}));
            return parsed
                .filter(Value::is_object)
                .or(empty)
                .ok_or_else(|| DeviceError::malformed("an answer that is not JSON").into());
        }
        Err(refusal(status, parsed.as_ref()))
    }

    async fn send(&self, operation: &str, body: Vec<u8>) -> Result<(u16, Vec<u8>), DeviceError> {
        let refused = |said: String| DeviceError::new(CustodyFailure::Refused, said);
        let credentials = (self.config.credentials)().map_err(refused)?;
        let target = format!("TrentService.{operation}");
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let request = SigningRequest {
            credentials: &credentials,
            region: &self.config.region,
            service: "kms",
            method: &Method::POST,
            url: &self.url,
            query: "",
            headers: &[("content-type", "application/x-amz-json-1.1"), ("x-amz-target", &target)],
            body: &body,
        };
        let headers = request.headers(now).map_err(refused)?;
        let request = self.client.post(self.url.clone()).headers(headers).body(body);
        let mut response = request.send().await.map_err(failed)?;
        let (status, mut answer) = (response.status().as_u16(), Vec::new());
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            if answer.len() + chunk.len() > MAX_ANSWER {
                let said = format!("an answer of more than {MAX_ANSWER} bytes");
                return Err(DeviceError::malformed(said));
            }
            answer.extend_from_slice(&chunk);
        }
        Ok((status, answer))
    }

    fn public_of(&self, key: &str) -> Result<PublicKey, Refusal> {
        let answer = self.call("GetPublicKey", &json!({ "KeyId": key }))?;
        let der = base64_of(&answer, "PublicKey")?;
        let public = PublicKey::from_pkix_der(&der)
            .map_err(|error| DeviceError::malformed(error.to_string()))?;
        Ok(public)
    }
}

impl Drop for AwsKms {
    fn drop(&mut self) {
        // It may be dropped on a thread that must not wait.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl KeyDevice for AwsKms {
    fn name(&self) -> String {
        format!("AWS KMS, alias/{} in {}", self.config.alias, self.config.region)
    }

    fn list(&self) -> Result<Vec<String>, DeviceError> {
        let prefix = format!("alias/{}/", self.config.alias);
        let (mut kids, mut marker) = (Vec::new(), None::<String>);
        for _ in 0..MAX_PAGES {
            let mut request = json!({ "Limit": PAGE });
            if let (Some(marker), Some(members)) = (&marker, request.as_object_mut()) {
                members.insert("Marker".to_owned(), json!(marker));
            }
            let answer = self.call("ListAliases", &request)?;
            let aliases = answer.get("Aliases").and_then(Value::as_array);
            let aliases =
                aliases.ok_or_else(|| DeviceError::malformed("a list without aliases"))?;
            let names = aliases.iter().filter_map(|alias| alias.get("AliasName")?.as_str());
            let own = names.filter_map(|name| name.strip_prefix(&prefix));
            kids.extend(own.filter(|kid| is_kid(kid)).map(str::to_owned));
            if kids.len() > MAX_KEYS {
                return Err(DeviceError::malformed("more keys than an issuer can have"));
            }
            let next = answer.get("NextMarker").and_then(Value::as_str);
            match (answer.get("Truncated").and_then(Value::as_bool), next) {
                (Some(true), Some(next)) if marker.as_deref() != Some(next) => {
                    marker = Some(next.to_owned());
                }
                (Some(true), _) => {
                    return Err(DeviceError::malformed("a list that does not go on"));
                }
                _ => return Ok(kids),
            }
        }
        Err(DeviceError::malformed("a list that does not end"))
    }

    fn make(&self, algorithm: Algorithm) -> Result<PublicKey, DeviceError> {
        let spec = match algorithm {
            Algorithm::Rs256 => "RSA_2048",
            Algorithm::Es256 => "ECC_NIST_P256",
        };
        let description = format!("Countersign signing key of alias/{}/", self.config.alias);
        let request =
            json!({ "KeySpec": spec, "KeyUsage": "SIGN_VERIFY", "Description": description });
        let answer = self.call("CreateKey", &request)?;
        let id = text_of(answer.get("KeyMetadata"), "KeyId")?;
        let named = self.public_of(&id).and_then(|public| {
            let alias = self.alias(public.kid())?;
            self.call("CreateAlias", &json!({ "AliasName": alias, "TargetKeyId": id }))?;
            Ok(public)
        });
        named.map_err(|refusal| {
            // Nobody would ever use it.
            let _ = self.call(
                "ScheduleKeyDeletion",
                &json!({ "KeyId": id, "PendingWindowInDays": PENDING_DAYS }),
            );
            refusal.into()
        })
    }

    fn public(&self, kid: &str) -> Result<Option<PublicKey>, DeviceError> {
        match self.alias(kid).and_then(|alias| self.public_of(&alias)) {
            Ok(public) => Ok(Some(public)),
            Err(Refusal::NotFound) => Ok(None),
            Err(Refusal::Other(error)) => Err(error),
        }
    }

    fn sign(
        &self,
        kid: &str,
        algorithm: Algorithm,
        sha256: &[u8; 32],
    ) -> Result<Vec<u8>, DeviceError> {
        let algorithm = match algorithm {
            Algorithm::Rs256 => "RSASSA_PKCS1_V1_5_SHA_256",
            Algorithm::Es256 => "ECDSA_SHA_256",
        };
        // Always a digest: a message itself has 4,096 bytes at most.
        let request = json!({
            "KeyId": self.alias(kid)?,
            "Message": BASE64_STANDARD.encode(sha256),
            "MessageType": "DIGEST",
            "SigningAlgorithm": algorithm,
        });
        let answer = self.call("Sign", &request)?;
        base64_of(&answer, "Signature")
    }

    fn destroy(&self, kid: &str) -> Result<(), DeviceError> {
        let destroyed = self.alias(kid).and_then(|alias| {
            let answer = self.call("DescribeKey", &json!({ "KeyId": alias }))?;
            let metadata = answer.get("KeyMetadata");
            let id = text_of(metadata, "KeyId")?;
            let state = metadata.and_then(|metadata| metadata.get("KeyState"));
            // Another replica, or this one before an interruption, was first.
            if state.and_then(Value::as_str) != Some("PendingDeletion") {
                let request = json!({ "KeyId": id, "PendingWindowInDays": PENDING_DAYS });
                self.call("ScheduleKeyDeletion", &request)?;
            }
            // Last: without its name nobody would find it again.
            self.call("DeleteAlias", &json!({ "AliasName": alias }))
        });
        match destroyed {
            Ok(_) | Err(Refusal::NotFound) => Ok(()),
            Err(Refusal::Other(error)) => Err(error),
        }
    }
}

fn text_of(object: Option<&Value>, member: &str) -> Result<String, DeviceError> {
    let text = object.and_then(|object| object.get(member)).and_then(Value::as_str);
    text.map(str::to_owned)
        .ok_or_else(|| DeviceError::malformed(format!("an answer without `{member}`")))
}

fn base64_of(answer: &Value, member: &str) -> Result<Vec<u8>, DeviceError> {
    let text = text_of(Some(answer), member)?;
    BASE64_STANDARD
        .decode(text)
        .map_err(|_| DeviceError::malformed(format!("`{member}` is not base64")))
}

fn failed(error: reqwest::Error) -> DeviceError {
    if error.is_timeout() {
        return DeviceError::new(CustodyFailure::Slow, "AWS KMS did not answer in time");
    }
    DeviceError::unreachable(error.without_url().to_string())
}

/// The kind of an error, by the name that AWS gives it. Its text is not repeated: it may have an ARN in it, which is
/// nobody's business who reads if the service is ready.
fn refusal(status: u16, answer: Option<&Value>) -> Refusal {
    let name = answer.and_then(|answer| answer.get("__type")).and_then(Value::as_str);
    // Some services put a namespace before it.
    let name = name.and_then(|name| name.rsplit('#').next()).unwrap_or_default();
    let name: String = name.chars().filter(char::is_ascii_alphanumeric).take(64).collect();
    let failure = match (name.as_str(), status) {
        ("NotFoundException", _) => return Refusal::NotFound,
        ("ThrottlingException" | "LimitExceededException", _) | (_, 429) => CustodyFailure::Busy,
        ("DependencyTimeoutException", _) | (_, 504) => CustodyFailure::Slow,
        (_, 500..) => CustodyFailure::Unreachable,
        ("", _) | (_, 0..400) => CustodyFailure::Malformed,
        _ => CustodyFailure::Refused,
    };
    Refusal::Other(DeviceError::new(failure, format!("status {status} {name}").trim_end()))
}
