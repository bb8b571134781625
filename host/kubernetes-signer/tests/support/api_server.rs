//! The steps of kube-apiserver with an external signer, in its order: pkg/serviceaccount/externaljwt/plugin of Kubernetes 1.36.
#![allow(dead_code, reason = "no test uses all of it")]
#![allow(clippy::unwrap_used, reason = "tests")]

use std::path::Path;
use std::task::{Context, Poll};

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey, VerificationAlgorithm,
};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use countersign_kubernetes_signer::proto::external_jwt_signer_client::ExternalJwtSignerClient;
use countersign_kubernetes_signer::proto::{
    FetchKeysRequest, FetchKeysResponse, Key, MetadataRequest, SignJwtRequest, SignJwtResponse,
};
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::Value;
use tokio::net::UnixStream;
use tonic::body::Body;
use tonic::{Code, Status};

/// A connection to a socket.
#[derive(Clone)]
pub(crate) struct Connection(SendRequest<Body>);

impl tower_service::Service<hyper::Request<Body>> for Connection {
    type Response = hyper::Response<Incoming>;
    type Error = hyper::Error;
    type Future =
        std::pin::Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: hyper::Request<Body>) -> Self::Future {
        Box::pin(self.0.send_request(request))
    }
}

pub(crate) type Client = ExternalJwtSignerClient<Connection>;

/// Connects as the API server does: in plain text, with the authority `localhost`.
pub(crate) async fn connect(socket: &Path) -> Result<Client, String> {
    let stream = UnixStream::connect(socket).await.map_err(|error| error.to_string())?;
    let handshake = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
    let (sender, connection) = handshake.map_err(|error| error.to_string())?;
    tokio::spawn(connection);
    Ok(ExternalJwtSignerClient::with_origin(
        Connection(sender),
        "http://localhost".parse().unwrap(),
    ))
}

/// An API server that has started.
pub(crate) struct ApiServer {
    pub client: Client,
    pub max_expiration: i64,
    pub keys: FetchKeysResponse,
    /// The times that it fetched keys.
    pub fetches: usize,
}

/// The reason that an API server gives no token.
#[derive(Debug)]
pub(crate) enum NoToken {
    /// The signer refused.
    Refused(Status),
    /// The API server does not take the signer's answer.
    Rejected(&'static str),
}

impl NoToken {
    pub(crate) fn code(&self) -> Option<Code> {
        match self {
            Self::Refused(status) => Some(status.code()),
            Self::Rejected(_) => None,
        }
    }

    pub(crate) fn text(&self) -> String {
        match self {
            Self::Refused(status) => status.message().to_owned(),
            Self::Rejected(problem) => (*problem).to_owned(),
        }
    }
}

impl ApiServer {
    /// Starts: Metadata, then FetchKeys. It does not serve before both are answered.
    pub(crate) async fn start(socket: &Path) -> Result<Self, String> {
        Self::over(connect(socket).await?).await
    }

    pub(crate) async fn over(mut client: Client) -> Result<Self, String> {
        let metadata =
            client.metadata(MetadataRequest {}).await.map_err(|error| error.to_string())?;
        let max_expiration = metadata.into_inner().max_token_expiration_seconds;
        if max_expiration < 600 {
            return Err("max_token_expiration_seconds is less than 600".to_owned());
        }
        let keys = FetchKeysResponse::default();
        let mut server = Self { client, max_expiration, keys, fetches: 0 };
        server.fetch().await?;
        Ok(server)
    }

    /// Fetches keys: keycache.go.
    pub(crate) async fn fetch(&mut self) -> Result<(), String> {
        let keys = self.client.fetch_keys(FetchKeysRequest {}).await;
        let keys = keys.map_err(|error| error.to_string())?.into_inner();
        self.fetches += 1;
        if keys.refresh_hint_seconds <= 0 {
            return Err("refresh_hint_seconds is not positive".to_owned());
        }
        if keys.data_timestamp.is_none_or(|time| time.seconds <= 0) {
            return Err("no data_timestamp".to_owned());
        }
        if keys.keys.is_empty() {
            return Err("no keys".to_owned());
        }
        for key in &keys.keys {
            if key.key_id.is_empty() || key.key_id.len() > 1024 {
                return Err("a key_id of another length than 1 to 1024".to_owned());
            }
            if algorithm(&key.key).is_none() {
                return Err("a key that is not PKIX of RSA or P-256".to_owned());
            }
        }
        self.keys = keys;
        Ok(())
    }

    fn key(&self, kid: &str) -> Option<&Key> {
        self.keys.keys.iter().find(|key| key.key_id == kid)
    }

    /// Has claims signed, and does every check of the real one; then verifies the signature, as those do that get the token.
    pub(crate) async fn token(&mut self, claims: &str) -> Result<String, NoToken> {
        let request = SignJwtRequest { claims: claims.to_owned() };
        let signed = self.client.sign(request).await.map_err(NoToken::Refused)?.into_inner();
        self.checked(claims, &signed).await
    }

    async fn checked(&mut self, claims: &str, signed: &SignJwtResponse) -> Result<String, NoToken> {
        let no = |problem| Err(NoToken::Rejected(problem));
        if signed.signature.is_empty() {
            return no("empty signature");
        }
        let Ok(header) = BASE64_URL_SAFE_NO_PAD.decode(&signed.header) else {
            return no("header is not base64url");
        };
        let Ok(Value::Object(header)) = serde_json::from_slice(&header) else {
            return no("header is not an object");
        };
        if header.keys().any(|name| !["alg", "kid", "typ"].contains(&name.as_str())) {
            return no("header has other fields");
        }
        let text = |name: &str| header.get(name).and_then(Value::as_str).unwrap_or_default();
        if text("typ") != "JWT" {
            return no("typ is not JWT");
        }
        let kid = text("kid");
        if kid.is_empty() || kid.len() > 1024 {
            return no("kid has another length than 1 to 1024");
        }
        if !["RS256", "ES256", "ES384", "ES512"].contains(&text("alg")) {
            return no("alg is not allowed");
        }
        if self.key(kid).is_none() {
            // At once, for a kid that it does not know.
            self.fetch().await.map_err(|_| NoToken::Rejected("keys cannot be fetched"))?;
        }
        let Some(key) = self.key(kid) else { return no("kid is unknown") };
        if key.exclude_from_oidc_discovery {
            return no("key is excluded from discovery");
        }
        let token = format!("{}.{claims}.{}", signed.header, signed.signature);
        let (name, verification) = algorithm(&key.key).unwrap();
        if name != text("alg") {
            return no("alg is not the key's");
        }
        let Ok(signature) = BASE64_URL_SAFE_NO_PAD.decode(&signed.signature) else {
            return no("signature is not base64url");
        };
        let input = format!("{}.{claims}", signed.header);
        if UnparsedPublicKey::new(verification, &key.key)
            .verify(input.as_bytes(), &signature)
            .is_err()
        {
            return no("signature does not verify");
        }
        Ok(token)
    }
}

/// The algorithm of a key in PKIX.
fn algorithm(der: &[u8]) -> Option<(&'static str, &'static dyn VerificationAlgorithm)> {
    const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
    const P256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
    let has = |oid: &[u8]| der.windows(oid.len()).any(|window| window == oid);
    if has(RSA) {
        Some(("RS256", &RSA_PKCS1_2048_8192_SHA256))
    } else if has(P256) {
        Some(("ES256", &ECDSA_P256_SHA256_FIXED))
    } else {
        None
    }
}
