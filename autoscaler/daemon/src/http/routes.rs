//! What is answered to which request.

mod rollout;
mod rollout_first;

pub use rollout_first::Images;

use super::access::Speaker;
use super::api::{Decisions, DecisionsQuery, Health, Ordered, OverrideOrder, PauseOrder, Ready, ResumeOrder};
use super::{Access, Refusal, Shell, Unanswered};
use crate::metrics::{self, Metrics};
use autoscaler_engine::{Command, CommandError, FleetStatus, Order, Rejection, Status};
use axum::body::Bytes;
use axum::extract::{
    ConnectInfo, DefaultBodyLimit, FromRequest, MatchedPath, Path, Query, Request, State, rejection,
};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use fleet::wire::{
    Identify, MAX_BODY_BYTES, NoticeBatch, NoticesAccepted, SampleBatch, SamplesAccepted, VERSION,
};
use fleet::{ErrorClass, FleetName, Timestamp, parse_duration};
use fleet_identity::{NotAdmitted, NotSigned};
use serde::de::DeserializeOwned;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// The routes, as they are counted.
const ROUTES: &[&str] = &[
    "/v1/identify",
    "/v1/samples",
    "/v1/notices",
    "/v1/health",
    "/v1/ready",
    "/v1/fleets",
    "/v1/fleets/{name}",
    "/v1/fleets/{name}/decisions",
    "/v1/fleets/{name}/pause",
    "/v1/fleets/{name}/resume",
    "/v1/fleets/{name}/override",
    "/v1/fleets/{name}/end-override",
    "/v1/fleets/{name}/rollout-start",
    "/v1/fleets/{name}/rollout-pause",
    "/v1/fleets/{name}/rollout-resume",
    "/v1/fleets/{name}/rollout-abort",
    "/v1/all/pause",
    "/v1/all/resume",
    "/metrics",
];
/// What is no route of ours is counted as this: callers could make up any number of them.
const OTHER: &str = "other";
/// Names of fleets that are not ready are listed up to this many.
const LISTED: usize = 10;

type Answer<T> = Result<Json<T>, Refusal>;

struct App<S> {
    shell: S,
    access: Access,
    metrics: Metrics,
}

/// Every route of the daemon.
///
/// * `metrics`: what `/metrics` shows; requests are counted in it, too.
///
/// To be served by [`super::serve`], which tells the handlers their peers' addresses.
pub fn router<S: Shell>(shell: S, access: Access, metrics: Metrics) -> Router {
    let app = Arc::new(App { shell, access, metrics });
    let fleets = Router::new()
        .route("/", get(fleets::<S>))
        .route("/{name}", get(fleet::<S>))
        .route("/{name}/decisions", get(decisions::<S>))
        .route("/{name}/pause", post(pause::<S>))
        .route("/{name}/resume", post(resume::<S>))
        .route("/{name}/override", post(bend::<S>))
        .route("/{name}/end-override", post(end_override::<S>))
        .route("/{name}/rollout-start", post(rollout::start::<S>))
        .route("/{name}/rollout-pause", post(rollout::pause::<S>))
        .route("/{name}/rollout-resume", post(rollout::resume::<S>))
        .route("/{name}/rollout-abort", post(rollout::abort::<S>));
    Router::new()
        .route("/v1/identify", post(identify::<S>))
        .route("/v1/samples", post(samples::<S>))
        .route("/v1/notices", post(notices::<S>))
        .route("/v1/health", get(health))
        .route("/v1/ready", get(ready::<S>))
        .nest("/v1/fleets", fleets)
        // Nesting does not serve its own root with a slash.
        .route("/v1/fleets/", get(self::fleets::<S>))
        .route("/v1/all/pause", post(pause_all::<S>))
        .route("/v1/all/resume", post(resume_all::<S>))
        .route("/metrics", get(show_metrics::<S>))
        .fallback(|| async { Refusal::new(StatusCode::NOT_FOUND, "no such route") })
        .method_not_allowed_fallback(|| async {
            Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "this route does not know that method")
        })
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(middleware::from_fn_with_state(Arc::clone(&app), count::<S>))
        .with_state(app)
}

async fn count<S: Shell>(State(app): State<Arc<App<S>>>, request: Request, next: Next) -> Response {
    let matched = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str).unwrap_or_default();
    // Nesting leaves a slash where the list of fleets is.
    let matched = matched.trim_end_matches('/');
    let route = ROUTES.iter().find(|route| **route == matched).copied().unwrap_or(OTHER);
    let response = next.run(request).await;
    app.metrics.count_request(route, response.status().as_u16());
    response
}

async fn samples<S: Shell>(
    State(app): State<Arc<App<S>>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
) -> Answer<SamplesAccepted> {
    // Before the body is read: strangers cost nothing.
    let speaker = app.access.node(request.headers(), app.shell.now())?;
    let batch: SampleBatch = parse(&body(request).await?)?;
    speaker.may_speak_for(&batch.instance)?;
    match app.shell.samples(app.address(&speaker, peer).await?, batch).await? {
        Ok(accepted) => Ok(Json(accepted)),
        // The answer to the first one was lost on its way; nothing is wrong.
        Err(Rejection::Duplicate { .. }) => Ok(Json(SamplesAccepted { accepted: 0 })),
        Err(rejection) => Err(rejection.into()),
    }
}

async fn notices<S: Shell>(
    State(app): State<Arc<App<S>>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
) -> Answer<NoticesAccepted> {
    let speaker = app.access.node(request.headers(), app.shell.now())?;
    let batch: NoticeBatch = parse(&body(request).await?)?;
    speaker.may_speak_for(&batch.instance)?;
    Ok(Json(app.shell.notices(app.address(&speaker, peer).await?, batch).await??))
}

async fn identify<S: Shell>(
    State(app): State<Arc<App<S>>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
) -> Result<Response, Refusal> {
    let Some(identity) = &app.access.identity else {
        return Err(Refusal::new(
            StatusCode::FORBIDDEN,
            "nodes cannot identify here: the daemon was started without instance identity certificates",
        ));
    };
    // Before a place is taken: whoever sends slowly takes none from others.
    let body = body(request).await?;
    let _place = identity.place().ok_or(Unanswered::Busy)?;
    let Identify { version, pkcs7 } = parse(&body)?;
    if version != VERSION {
        return Err(Rejection::Version { version }.into());
    }
    let document = identity.trust().open(&pkcs7)?;
    // Before EC2 is asked for one that nobody knows: every account's documents are signed alike.
    identity.rules().allow(&document)?;
    let instance = app.shell.instance(document.instance.clone()).await?;
    identity.rules().admit(&document, instance.as_ref(), peer.ip())?;
    let identified = identity.issue(&document.instance, app.shell.now());
    tracing::info!(instance = %document.instance, peer = %peer.ip(), "identified a node");
    Ok(([(CACHE_CONTROL, "no-store")], Json(identified)).into_response())
}

async fn health() -> Json<Health> {
    Json(Health { alive: true, version: env!("CARGO_PKG_VERSION").to_owned() })
}

async fn ready<S: Shell>(State(app): State<Arc<App<S>>>) -> (StatusCode, Json<Ready>) {
    let reasons = match app.shell.status().await {
        Ok(status) => missing(&status),
        Err(unanswered) => vec![unanswered.to_string()],
    };
    let ready = reasons.is_empty();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(Ready { ready, reasons }))
}

/// What keeps the daemon from being ready.
fn missing(status: &Status) -> Vec<String> {
    let mut reasons = Vec::new();
    if status.stopping {
        reasons.push("stopping".to_owned());
    }
    if status.policies.loaded.is_none() {
        reasons.push("no policies are loaded yet".to_owned());
    }
    let undecided: Vec<&str> = status
        .fleets
        .iter()
        .filter(|fleet| fleet.decided.is_none())
        .map(|fleet| fleet.name.as_str())
        .collect();
    reasons.extend(undecided.iter().take(LISTED).map(|name| format!("fleet {name} has had no decision yet")));
    if undecided.len() > LISTED {
        reasons.push(format!("{} more fleets have had no decision yet", undecided.len() - LISTED));
    }
    reasons
}

async fn fleets<S: Shell>(State(app): State<Arc<App<S>>>) -> Answer<Status> {
    Ok(Json(app.shell.status().await?))
}

async fn fleet<S: Shell>(State(app): State<Arc<App<S>>>, Path(name): Path<FleetName>) -> Answer<FleetStatus> {
    app.shell.fleet(name.clone()).await?.map(Json).ok_or_else(|| unknown(&name))
}

async fn decisions<S: Shell>(
    State(app): State<Arc<App<S>>>,
    Path(name): Path<FleetName>,
    query: Result<Query<DecisionsQuery>, rejection::QueryRejection>,
) -> Answer<Decisions> {
    let Query(query) = query.map_err(|wrong| bad(&wrong.body_text()))?;
    let at = query.at.as_deref().map(Timestamp::parse).transpose();
    let at = at.map_err(|wrong| bad(&format!("at: {wrong}")))?;
    // Asked first, whatever else is: of a name that is misspelt there is no decision of any age.
    let kept = app.shell.decisions(name.clone()).await?.ok_or_else(|| unknown(&name))?;
    let mut decisions = match at {
        Some(at) => app.shell.decision_at(name.clone(), at).await?.into_iter().collect(),
        None => kept,
    };
    let surplus = query.limit.map_or(0, |limit| decisions.len().saturating_sub(limit));
    decisions.drain(..surplus);
    Ok(Json(Decisions { fleet: name, decisions }))
}

async fn show_metrics<S: Shell>(State(app): State<Arc<App<S>>>) -> Result<Response, Refusal> {
    let status = app.shell.status().await?;
    let counters = app.shell.counters().await?;
    let text = app.metrics.render(status, counters);
    Ok(([(CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response())
}

type Peer = ConnectInfo<SocketAddr>;

async fn pause<S: Shell>(
    State(app): State<Arc<App<S>>>,
    Path(name): Path<FleetName>,
    peer: Peer,
    request: Request,
) -> Answer<Ordered> {
    let PauseOrder { lasts, by, reason } = app.order(peer, request).await?;
    let lasts = duration(&lasts)?;
    app.operate(Some(name), Order::Pause { lasts }, Some(lasts), by, reason).await
}

async fn pause_all<S: Shell>(
    State(app): State<Arc<App<S>>>,
    peer: Peer,
    request: Request,
) -> Answer<Ordered> {
    let PauseOrder { lasts, by, reason } = app.order(peer, request).await?;
    let lasts = duration(&lasts)?;
    app.operate(None, Order::Pause { lasts }, Some(lasts), by, reason).await
}

async fn resume<S: Shell>(
    State(app): State<Arc<App<S>>>,
    Path(name): Path<FleetName>,
    peer: Peer,
    request: Request,
) -> Answer<Ordered> {
    let ResumeOrder { by, reason } = app.order(peer, request).await?;
    app.end(Some(name), Order::Resume, by, reason).await
}

async fn resume_all<S: Shell>(
    State(app): State<Arc<App<S>>>,
    peer: Peer,
    request: Request,
) -> Answer<Ordered> {
    let ResumeOrder { by, reason } = app.order(peer, request).await?;
    app.end(None, Order::Resume, by, reason).await
}

async fn bend<S: Shell>(
    State(app): State<Arc<App<S>>>,
    Path(name): Path<FleetName>,
    peer: Peer,
    request: Request,
) -> Answer<Ordered> {
    let OverrideOrder { min, max, target, lasts, by, reason } = app.order(peer, request).await?;
    let lasts = duration(&lasts)?;
    let target = match target {
        Some(text) => Some(text.parse().map_err(|wrong| bad(&format!("target: {wrong}")))?),
        None => None,
    };
    app.operate(Some(name), Order::Override { min, max, target, lasts }, Some(lasts), by, reason).await
}

async fn end_override<S: Shell>(
    State(app): State<Arc<App<S>>>,
    Path(name): Path<FleetName>,
    peer: Peer,
    request: Request,
) -> Answer<Ordered> {
    let ResumeOrder { by, reason } = app.order(peer, request).await?;
    app.end(Some(name), Order::EndOverride, by, reason).await
}

impl<S: Shell> App<S> {
    /// The address that counts as where a node speaks from: the caller's; that of its instance where it has proved which
    /// one it is and may speak from any.
    async fn address(&self, speaker: &Speaker, peer: SocketAddr) -> Result<IpAddr, Refusal> {
        let anywhere = self.access.identity.as_ref().is_some_and(|identity| identity.rules().any_address);
        let own = match speaker {
            Speaker::Only(instance) if anywhere => self.shell.instance(instance.clone()).await?,
            Speaker::Only(_) | Speaker::ByAddress => None,
        };
        Ok(own.and_then(|own| own.private_ip).unwrap_or(peer.ip()))
    }

    /// Reads an order from somebody who may give orders.
    async fn order<T: DeserializeOwned>(
        &self,
        ConnectInfo(peer): Peer,
        request: Request,
    ) -> Result<T, Refusal> {
        self.access.orders(request.headers(), peer)?;
        if !is_json(request.headers()) {
            return Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "an order is application/json"));
        }
        parse(&body(request).await?)
    }

    async fn operate(
        &self,
        fleet: Option<FleetName>,
        order: Order,
        lasts: Option<Duration>,
        by: String,
        reason: String,
    ) -> Answer<Ordered> {
        readable("by", &by)?;
        readable("reason", &reason)?;
        let until = lasts.map(|lasts| self.shell.now() + lasts);
        self.shell.operate(Command { fleet: fleet.clone(), order, by, reason }).await??;
        Ok(Json(Ordered { fleet, until, nothing_to_end: false }))
    }

    /// Gives an order that ends something, and says so where there is nothing to end. It is given nevertheless:
    /// who resumes a fleet also says that what others wrote to it is fine.
    async fn end(
        &self,
        fleet: Option<FleetName>,
        order: Order,
        by: String,
        reason: String,
    ) -> Answer<Ordered> {
        let is_in_force = |fleet: &FleetStatus| match order {
            Order::EndOverride => fleet.bent.is_some(),
            _ => fleet.pause.is_some() || fleet.ceded,
        };
        let in_force = match &fleet {
            Some(name) => self.shell.fleet(name.clone()).await?.as_ref().is_some_and(is_in_force),
            None => self.shell.status().await?.fleets.iter().any(is_in_force),
        };
        let Json(ordered) = self.operate(fleet, order, None, by, reason).await?;
        Ok(Json(Ordered { nothing_to_end: !in_force, ..ordered }))
    }
}

/// Takes what people will read, on terminals among others: no control characters, which would write what they
/// like there.
fn readable(field: &str, text: &str) -> Result<(), Refusal> {
    if text.trim().is_empty() || text.chars().count() > 500 {
        return Err(bad(&format!("{field}: 1 to 500 characters are needed")));
    }
    if text.chars().any(char::is_control) {
        return Err(bad(&format!("{field}: line ends and other control characters are not taken")));
    }
    Ok(())
}

async fn body(request: Request) -> Result<Bytes, Refusal> {
    Bytes::from_request(request, &()).await.map_err(|wrong| match wrong.status() {
        StatusCode::PAYLOAD_TOO_LARGE => Refusal::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("the body is larger than {MAX_BODY_BYTES} bytes"),
        ),
        status => Refusal::new(status, wrong.body_text()),
    })
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    serde_json::from_slice(body).map_err(|wrong| bad(&format!("the body is not what is expected: {wrong}")))
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
}

fn duration(text: &str) -> Result<Duration, Refusal> {
    parse_duration(text).map_err(|wrong| bad(&format!("for: {wrong}")))
}

fn bad(error: &str) -> Refusal {
    Refusal::new(StatusCode::BAD_REQUEST, error)
}

fn unknown(name: &FleetName) -> Refusal {
    Refusal::new(StatusCode::NOT_FOUND, format!("no policy names a fleet {name}"))
}

impl From<NotSigned> for Refusal {
    fn from(wrong: NotSigned) -> Self {
        let status = match wrong {
            NotSigned::Malformed { .. } | NotSigned::NoDocument { .. } => StatusCode::BAD_REQUEST,
            NotSigned::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            NotSigned::Algorithm { .. }
            | NotSigned::UnknownSigner { .. }
            | NotSigned::Forged
            | NotSigned::Region { .. } => StatusCode::FORBIDDEN,
        };
        Self::new(status, format!("the identity document is refused: {wrong}"))
    }
}

impl From<NotAdmitted> for Refusal {
    fn from(wrong: NotAdmitted) -> Self {
        let status = match wrong.class() {
            ErrorClass::NotFound => StatusCode::NOT_FOUND,
            _ => StatusCode::FORBIDDEN,
        };
        Self::new(status, format!("the node is not admitted: {wrong}"))
    }
}

impl From<Rejection> for Refusal {
    fn from(rejection: Rejection) -> Self {
        let status = match rejection {
            Rejection::Version { .. }
            | Rejection::TooMany { .. }
            | Rejection::Malformed { .. }
            | Rejection::NotAnAgents { .. } => StatusCode::BAD_REQUEST,
            Rejection::WrongPeer { .. } => StatusCode::FORBIDDEN,
            Rejection::UnknownYet { .. } => StatusCode::NOT_FOUND,
            Rejection::Duplicate { .. } => StatusCode::CONFLICT,
            Rejection::Stopping => StatusCode::SERVICE_UNAVAILABLE,
        };
        Self::new(status, rejection.to_string())
    }
}

impl From<CommandError> for Refusal {
    fn from(error: CommandError) -> Self {
        let status = match error {
            CommandError::UnknownFleet { .. } => StatusCode::NOT_FOUND,
            CommandError::Lasts | CommandError::Empty => StatusCode::BAD_REQUEST,
            CommandError::MinAboveMax { .. }
            | CommandError::Zero { .. }
            | CommandError::RollsOut { .. }
            | CommandError::NothingRollsOut
            | CommandError::OtherTemplate { .. }
            | CommandError::RunsAlready { .. } => StatusCode::UNPROCESSABLE_ENTITY,
        };
        Self::new(status, error.to_string())
    }
}

impl From<Unanswered> for Refusal {
    fn from(unanswered: Unanswered) -> Self {
        let status = match unanswered {
            Unanswered::Busy => StatusCode::TOO_MANY_REQUESTS,
            Unanswered::NotRunning | Unanswered::NotJournaled(_) => StatusCode::SERVICE_UNAVAILABLE,
            Unanswered::NotReadable(_) => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self::new(status, unanswered.to_string())
    }
}
