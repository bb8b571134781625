//! The checks of the API server, on a signer that answers wrongly; and the code of the protocol.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod support;

use std::fmt::Write as _;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use countersign_kubernetes_signer::proto::external_jwt_signer_server::{
    ExternalJwtSigner, ExternalJwtSignerServer,
};
use countersign_kubernetes_signer::proto::{
    FetchKeysRequest, FetchKeysResponse, Key, MetadataRequest, MetadataResponse, SignJwtRequest,
    SignJwtResponse, Timestamp,
};
use countersign_signing::{Algorithm, Signer as _, SigningKey};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use support::api_server::{ApiServer, NoToken};
use support::folder;
use tokio::net::UnixListener;
use tonic::{Request, Response, Status};

/// A signer that does one thing wrong.
struct Wrong {
    key: SigningKey,
    header: Value,
    signature: Option<String>,
    excluded: bool,
    hint: i64,
    timestamp: i64,
    max: i64,
    keys: usize,
}

impl Wrong {
    fn right() -> Self {
        let (key, _) = SigningKey::generate(Algorithm::Es256).unwrap();
        let header = json!({"alg": "ES256", "kid": key.public().kid(), "typ": "JWT"});
        Self {
            key,
            header,
            signature: None,
            excluded: false,
            hint: 1,
            timestamp: 1,
            max: 600,
            keys: 1,
        }
    }
}

#[tonic::async_trait]
impl ExternalJwtSigner for Wrong {
    async fn sign(
        &self,
        request: Request<SignJwtRequest>,
    ) -> Result<Response<SignJwtResponse>, Status> {
        let header = BASE64_URL_SAFE_NO_PAD.encode(self.header.to_string());
        let input = format!("{header}.{}", request.into_inner().claims);
        let signature = BASE64_URL_SAFE_NO_PAD.encode(self.key.sign(input.as_bytes()).unwrap());
        let signature = self.signature.clone().unwrap_or(signature);
        Ok(Response::new(SignJwtResponse { header, signature }))
    }

    async fn fetch_keys(
        &self,
        _: Request<FetchKeysRequest>,
    ) -> Result<Response<FetchKeysResponse>, Status> {
        let key = Key {
            key_id: self.key.public().kid().to_owned(),
            key: self.key.public().to_pkix_der().unwrap(),
            exclude_from_oidc_discovery: self.excluded,
        };
        Ok(Response::new(FetchKeysResponse {
            keys: vec![key; self.keys],
            data_timestamp: Some(Timestamp { seconds: self.timestamp, nanos: 0 }),
            refresh_hint_seconds: self.hint,
        }))
    }

    async fn metadata(
        &self,
        _: Request<MetadataRequest>,
    ) -> Result<Response<MetadataResponse>, Status> {
        Ok(Response::new(MetadataResponse { max_token_expiration_seconds: self.max }))
    }
}

/// The answer of an API server over this signer: that it does not start, or what becomes of a token.
async fn with(wrong: Wrong) -> Result<String, String> {
    let folder = folder();
    let path = folder.path().join("socket");
    let listener = UnixListener::bind(&path).unwrap();
    let connections = futures_util::stream::unfold(listener, |listener| async move {
        let stream = listener.accept().await.map(|(stream, _)| stream);
        Some((stream, listener))
    });
    let server = tonic::transport::Server::builder();
    let serving = tokio::spawn(
        server.serve_with_incoming(ExternalJwtSignerServer::new(wrong), Box::pin(connections)),
    );
    let answer = async {
        let mut server = ApiServer::start(&path).await?;
        server.token("e30").await.map_err(|error| match error {
            NoToken::Refused(status) => status.to_string(),
            NoToken::Rejected(problem) => problem.to_owned(),
        })
    };
    let answer = answer.await;
    serving.abort();
    answer
}

#[tokio::test]
async fn an_api_server_takes_only_what_the_real_one_takes() {
    assert!(with(Wrong::right()).await.is_ok());
    let header = |change: fn(&mut Value)| {
        let mut wrong = Wrong::right();
        change(&mut wrong.header);
        wrong
    };
    for (wrong, problem) in [
        (header(|header| header["jku"] = json!("x")), "other fields"),
        (header(|header| header["typ"] = json!("at+jwt")), "typ"),
        (header(|header| header["kid"] = json!("")), "kid"),
        (header(|header| header["kid"] = json!("k".repeat(1025))), "kid"),
        (header(|header| header["kid"] = json!("another")), "kid is unknown"),
        (header(|header| header["alg"] = json!("none")), "alg is not allowed"),
        (header(|header| header["alg"] = json!("RS256")), "alg is not the key's"),
        (Wrong { excluded: true, ..Wrong::right() }, "excluded"),
        (Wrong { signature: Some(String::new()), ..Wrong::right() }, "empty signature"),
        (Wrong { signature: Some("AAAA".to_owned()), ..Wrong::right() }, "does not verify"),
        (Wrong { hint: 0, ..Wrong::right() }, "refresh_hint_seconds"),
        (Wrong { timestamp: 0, ..Wrong::right() }, "data_timestamp"),
        (Wrong { keys: 0, ..Wrong::right() }, "no keys"),
        (Wrong { max: 599, ..Wrong::right() }, "less than 600"),
    ] {
        let error = with(wrong).await.unwrap_err();
        assert!(error.contains(problem), "{problem}: {error}");
    }
}

/// The header of every token has what the API server takes, and nothing else; and keys are PKIX as RFC 5280 has it.
#[test]
fn keys_are_pkix() {
    for (algorithm, bytes) in [(Algorithm::Es256, 91), (Algorithm::Rs256, 294)] {
        let (key, _) = SigningKey::generate(algorithm).unwrap();
        let der = key.public().to_pkix_der().unwrap();
        assert_eq!((der.len(), der[0]), (bytes, 0x30));
    }
}

#[test]
fn the_code_of_the_protocol_is_current() {
    let proto = include_bytes!("../../../protos/externaljwt.proto");
    let digest = Sha256::digest(proto).iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    });
    let code = include_str!("../src/proto.rs");
    let expected = format!("// protos/externaljwt.proto sha256:{digest}\n");
    assert!(code.starts_with(&expected), "`make protos` generates src/proto.rs");
}
