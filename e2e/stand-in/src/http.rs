//! Serves the four token services over HTTP, and over TLS for clients that demand it.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, RwLock};

use axum::Router;
use axum::extract::{Path, RawForm, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::{Map, Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tower_service::Service;

use crate::{Clouds, Refusal, Setup, Shared, aws, entra, google, stackit};

/// The four token services, listening on this machine.
pub struct StandIn {
    clouds: Shared,
    /// The base URL for HTTP.
    pub http: SocketAddr,
    /// The base URL for TLS.
    pub https: Option<SocketAddr>,
}

/// A certificate and its key, in DER.
pub struct Tls {
    /// The certificate.
    pub certificate: Vec<u8>,
    /// The certificate's key, in PKCS #8.
    pub key: Vec<u8>,
}

impl StandIn {
    /// Listens on free ports until the current runtime ends.
    ///
    /// # Errors
    /// Returns an error if no port is free or the certificate is invalid.
    pub async fn start(setup: Setup, tls: Option<Tls>) -> io::Result<Self> {
        let clouds = Arc::new(Clouds { setup: RwLock::new(setup) });
        let router = routes(Arc::clone(&clouds));
        let http = listen(router.clone(), None).await?;
        let https = match tls {
            None => None,
            Some(tls) => Some(listen(router, Some(acceptor(tls)?)).await?),
        };
        Ok(Self { clouds, http, https })
    }

    /// Changes the set-up for all later requests.
    pub fn change(&self, change: impl FnOnce(&mut Setup)) {
        if let Ok(mut setup) = self.clouds.setup.write() {
            change(&mut setup);
        }
    }
}

fn acceptor(tls: Tls) -> io::Result<TlsAcceptor> {
    let key = PrivateKeyDer::try_from(tls.key).map_err(io::Error::other)?;
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![CertificateDer::from(tls.certificate)], key)
        .map_err(io::Error::other)?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// Serves on a free port, and returns its address.
async fn listen(router: Router, tls: Option<TlsAcceptor>) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (tls, router) = (tls.clone(), router.clone());
            tokio::spawn(async move {
                match tls {
                    None => answer(stream, router).await,
                    Some(tls) => {
                        if let Ok(stream) = tls.accept(stream).await {
                            answer(stream, router).await;
                        }
                    }
                }
            });
        }
    });
    Ok(address)
}

async fn answer(stream: impl AsyncRead + AsyncWrite + Unpin, router: Router) {
    let service = hyper::service::service_fn(move |request| router.clone().call(request));
    // A client that disconnects is not an error of the service.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

fn routes(clouds: Shared) -> Router {
    Router::new()
        .route("/", post(aws_sts))
        .route("/{tenant}/v2.0/.well-known/openid-configuration", get(entra_discovery))
        .route("/{tenant}/oauth2/v2.0/token", post(entra_token))
        .route("/v1/token", post(google_sts))
        .route("/oauth/v2/token", post(stackit_token))
        .with_state(clouds)
}

fn parameters(form: &[u8]) -> BTreeMap<String, String> {
    form_urlencoded::parse(form).into_owned().collect()
}

async fn aws_sts(State(clouds): State<Shared>, RawForm(form): RawForm) -> Response {
    let form = parameters(&form);
    let assumed = match form.get("Action").map(String::as_str) {
        Some("AssumeRoleWithWebIdentity") => aws::assume(&clouds.setup(), &form).await,
        _ => Err(Refusal::new("InvalidAction", "only AssumeRoleWithWebIdentity is implemented")),
    };
    let xml = |status: StatusCode, body: String| {
        (status, [(header::CONTENT_TYPE, "text/xml")], body).into_response()
    };
    let role = form.get("RoleArn").map_or("", String::as_str);
    match assumed {
        Ok(session) => xml(
            StatusCode::OK,
            format!(
                "<AssumeRoleWithWebIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">\
                 <AssumeRoleWithWebIdentityResult><Credentials><AccessKeyId>ASIASTANDIN</AccessKeyId>\
                 <SecretAccessKey>stand-in</SecretAccessKey><SessionToken>stand-in</SessionToken>\
                 <Expiration>2099-01-01T00:00:00Z</Expiration></Credentials>\
                 <AssumedRoleUser><Arn>{}</Arn><AssumedRoleId>AROA:{}</AssumedRoleId></AssumedRoleUser>\
                 </AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>",
                escaped(role),
                escaped(&session)
            ),
        ),
        Err(Refusal { code, message }) => {
            let status = if code == "AccessDenied" {
                StatusCode::FORBIDDEN
            } else {
                StatusCode::BAD_REQUEST
            };
            let message = escaped(&message);
            xml(
                status,
                format!(
                    "<ErrorResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><Error><Type>Sender</Type>\
                     <Code>{code}</Code><Message>{message}</Message></Error></ErrorResponse>"
                ),
            )
        }
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

async fn entra_discovery(Path(tenant): Path<String>, headers: HeaderMap) -> Response {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let base = format!("https://{host}/{tenant}");
    json_answer(
        StatusCode::OK,
        &json!({
            "issuer": format!("{base}/v2.0"),
            "token_endpoint": format!("{base}/oauth2/v2.0/token"),
            "authorization_endpoint": format!("{base}/oauth2/v2.0/authorize"),
            "device_authorization_endpoint": format!("{base}/oauth2/v2.0/devicecode"),
            "jwks_uri": format!("{base}/discovery/v2.0/keys"),
        }),
    )
}

async fn entra_token(State(clouds): State<Shared>, RawForm(form): RawForm) -> Response {
    given(entra::token(&clouds.setup(), &parameters(&form)).await.map(|()| Map::new()))
}

async fn google_sts(State(clouds): State<Shared>, RawForm(form): RawForm) -> Response {
    let exchanged = google::exchange(&clouds.setup(), &parameters(&form)).await;
    given(exchanged.map(|subject| {
        let issued = "urn:ietf:params:oauth:token-type:access_token";
        let members = [("issued_token_type", issued.to_owned()), ("stand_in_subject", subject)];
        members.into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect()
    }))
}

async fn stackit_token(State(clouds): State<Shared>, RawForm(form): RawForm) -> Response {
    given(stackit::token(&clouds.setup(), &parameters(&form)).await.map(|()| Map::new()))
}

/// Responds with an access token, or with an OAuth error (RFC 6749 section 5).
fn given(given: Result<Map<String, Value>, Refusal>) -> Response {
    match given {
        Ok(mut body) => {
            body.insert("access_token".to_owned(), "stand-in".into());
            body.insert("token_type".to_owned(), "Bearer".into());
            body.insert("expires_in".to_owned(), 3600.into());
            let body = body.into();
            json_answer(StatusCode::OK, &body)
        }
        Err(Refusal { code, message }) => {
            let status = if code == "invalid_client" {
                StatusCode::UNAUTHORIZED
            } else {
                StatusCode::BAD_REQUEST
            };
            json_answer(status, &json!({"error": code, "error_description": message}))
        }
    }
}

fn json_answer(status: StatusCode, body: &Value) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response()
}
