//! The table of routes: what each is for, and its methods.

/// The purpose of a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Tells if the service is well.
    Probe,
    /// Publishes what anybody may read.
    Document,
    /// Does what the service is for.
    Api,
    /// There is nothing there.
    Nothing,
}

/// A route.
#[derive(Debug)]
pub(crate) struct Route {
    /// Its path, below that of the issuer; `none` where there is none.
    pub(crate) path: &'static str,
    /// Its methods, as the field `Allow` has them.
    pub(crate) allow: &'static str,
    /// Its purpose.
    pub(crate) purpose: Purpose,
}

/// The path of the authorization server metadata of RFC 8414.
pub(crate) const METADATA: &str = "/.well-known/oauth-authorization-server";

/// The path of the metadata of AuthZEN section 9.
pub(crate) const AUTHZEN_METADATA: &str = "/.well-known/authzen-configuration";

const DOCUMENT: &str = "GET, HEAD, OPTIONS";
const READ: &str = "GET, HEAD";

static ROUTES: [Route; 20] = [
    route("/.well-known/openid-configuration", DOCUMENT, Purpose::Document),
    route(METADATA, DOCUMENT, Purpose::Document),
    route(AUTHZEN_METADATA, DOCUMENT, Purpose::Document),
    route("/.well-known/jwks.json", DOCUMENT, Purpose::Document),
    route("/jwks.json", DOCUMENT, Purpose::Document),
    route("/openapi.json", DOCUMENT, Purpose::Document),
    route("/v1/runs", READ, Purpose::Api),
    route("/v1/runs/{uuid}", "GET, HEAD, PUT", Purpose::Api),
    route("/v1/runs/{uuid}/finish", "POST", Purpose::Api),
    route("/v1/runs/{uuid}/token", "GET", Purpose::Api),
    route("/v1/runners/{uuid}/finish", "POST", Purpose::Api),
    route("/v1/token", "POST", Purpose::Api),
    route("/v1/decisions", "POST", Purpose::Api),
    route("/access/v1/evaluation", "POST", Purpose::Api),
    route("/access/v1/evaluations", "POST", Purpose::Api),
    route("/healthz", READ, Purpose::Probe),
    route("/readyz", READ, Purpose::Probe),
    route("/metrics", READ, Purpose::Api),
    route("/console", READ, Purpose::Api),
    route("/console/{*path}", READ, Purpose::Api),
];

static NOTHING: Route = route("none", "", Purpose::Nothing);

const fn route(path: &'static str, allow: &'static str, purpose: Purpose) -> Route {
    Route { path, allow, purpose }
}

impl Route {
    /// Tells whether it speaks AuthZEN.
    pub(crate) fn is_authzen(&self) -> bool {
        self.path.starts_with("/access/")
    }

    /// The route of a path that was matched, which can begin with the issuer's path; RFC 8414 section 3.1 has that at the
    /// end.
    pub(crate) fn of(issuer: &str, matched: Option<&str>) -> &'static Self {
        let Some(matched) = matched else { return &NOTHING };
        let of = |path: &str| ROUTES.iter().find(|route| route.path == path);
        of(matched)
            .or_else(|| of(matched.strip_prefix(issuer)?))
            .or_else(|| of(matched.strip_suffix(issuer)?))
            .unwrap_or(&NOTHING)
    }
}
