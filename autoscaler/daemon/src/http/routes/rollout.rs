//! Orders about roll-outs.

use super::{Answer, App, Peer, Refusal, Shell, bad, readable, unknown};
use crate::http::api::{ResumeOrder, RolloutOrdered, RolloutStart};
use autoscaler_engine::{CommandError, FleetStatus, Order, RolloutOrder};
use axum::Json;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use fleet::{ApiError, ErrorClass, FleetName, ImageId, LaunchTemplate, chain};
use std::sync::Arc;

pub(super) async fn start<S: Shell>(
    State(app): State<Arc<App<S>>>,
    Path(name): Path<FleetName>,
    peer: Peer,
    request: Request,
) -> Answer<RolloutOrdered> {
    let RolloutStart { image, version, by, reason } = app.order(peer, request).await?;
    // Before anything is made for it.
    readable("by", &by)?;
    readable("reason", &reason)?;
    let fleet = app.fleet_to_roll(&name).await?;
    let found = fleet.launch.as_ref().map(|launch| launch.id.clone());
    let Some(LaunchTemplate { id: template, version: launched }) = fleet.launch else {
        return Err(CommandError::OtherTemplate { found }.into());
    };
    let (version, image) = match (image, version) {
        (None, Some(0)) => return Err(bad("version: versions are counted from 1")),
        (None, Some(version)) => (version, None),
        (Some(image), None) => {
            let image = ImageId::new(image);
            if !image.is_well_formed() {
                let given = image.as_str();
                return Err(bad(&format!(
                    "image: expected an id such as ami-0123456789abcdef0, got {given:?}"
                )));
            }
            if let Some(rollout) = fleet.rollout.filter(|rollout| !rollout.rollout.is_over()) {
                return Err(CommandError::RollsOut { template, to: rollout.rollout.to }.into());
            }
            let source = launched.ok_or_else(|| {
                let why = "nobody knows which version the fleet launches: no instance shows it yet";
                Refusal::new(StatusCode::SERVICE_UNAVAILABLE, why)
            })?;
            let region = fleet.region.ok_or_else(|| unknown(&name))?;
            let made = app.shell.make_version(region, template.clone(), source, image.clone()).await;
            (made.map_err(|error| unmade(&error))?, Some(image))
        }
        _ => return Err(bad("exactly one of image and version is needed")),
    };
    app.roll(name, RolloutOrder::Start { template, version, image }, by, reason).await
}

pub(super) async fn pause<S: Shell>(
    State(app): State<Arc<App<S>>>,
    Path(name): Path<FleetName>,
    peer: Peer,
    request: Request,
) -> Answer<RolloutOrdered> {
    app.roll_on(name, RolloutOrder::Pause, peer, request).await
}

pub(super) async fn resume<S: Shell>(
    State(app): State<Arc<App<S>>>,
    Path(name): Path<FleetName>,
    peer: Peer,
    request: Request,
) -> Answer<RolloutOrdered> {
    app.roll_on(name, RolloutOrder::Resume, peer, request).await
}

pub(super) async fn abort<S: Shell>(
    State(app): State<Arc<App<S>>>,
    Path(name): Path<FleetName>,
    peer: Peer,
    request: Request,
) -> Answer<RolloutOrdered> {
    app.roll_on(name, RolloutOrder::Abort, peer, request).await
}

impl<S: Shell> App<S> {
    async fn roll_on(
        &self,
        name: FleetName,
        order: RolloutOrder,
        peer: Peer,
        request: Request,
    ) -> Answer<RolloutOrdered> {
        let ResumeOrder { by, reason } = self.order(peer, request).await?;
        self.fleet_to_roll(&name).await?;
        self.roll(name, order, by, reason).await
    }

    /// The fleet that an order is about. Only who leads takes one: a roll-out is in the ledger, which is the leader's.
    async fn fleet_to_roll(&self, name: &FleetName) -> Result<FleetStatus, Refusal> {
        let status = self.shell.status().await?;
        let leads = status.leads;
        let known = status.fleets.into_iter().find(|fleet| fleet.name == *name);
        let fleet = known.ok_or_else(|| unknown(name))?;
        if !leads {
            let why = "another process leads: it is the one to be asked";
            return Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, why));
        }
        Ok(fleet)
    }

    async fn roll(
        &self,
        name: FleetName,
        order: RolloutOrder,
        by: String,
        reason: String,
    ) -> Answer<RolloutOrdered> {
        let Json(_) = self.operate(Some(name.clone()), Order::Rollout(order), None, by, reason).await?;
        let rollout = self.shell.fleet(name.clone()).await?.and_then(|fleet| fleet.rollout);
        let rollout = rollout.ok_or_else(|| unknown(&name))?.rollout;
        Ok(Json(RolloutOrdered { fleet: name, rollout }))
    }
}

/// A version that AWS did not make.
fn unmade(error: &ApiError) -> Refusal {
    let status = match error.class() {
        ErrorClass::Throttled { .. } | ErrorClass::Transient | ErrorClass::Unclear => {
            StatusCode::SERVICE_UNAVAILABLE
        }
        ErrorClass::Malformed | ErrorClass::NotFound => StatusCode::UNPROCESSABLE_ENTITY,
        _ => StatusCode::BAD_GATEWAY,
    };
    Refusal::new(status, format!("no version of the launch template was made: {}", chain(error)))
}
