//! Orders about roll-outs.

use super::rollout_first::failed;
use super::{Answer, App, Peer, Refusal, Shell, bad, readable, unknown};
use crate::http::api::{ResumeOrder, RolloutOrdered, RolloutStart};
use autoscaler_engine::{CommandError, FleetStatus, Order, RolloutOrder, RolloutStatus};
use axum::Json;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use fleet::{FleetName, ImageId, LaunchTemplate};
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
    let wanted = Wanted::of(image, version)?;
    let fleet = app.fleet_to_roll(&name).await?;
    let found = fleet.launch.as_ref().map(|launch| launch.id.clone());
    let Some(LaunchTemplate { id: template, version: launched }) = fleet.launch.clone() else {
        return Err(CommandError::OtherTemplate { found }.into());
    };
    if let Some(RolloutStatus { rollout, .. }) = fleet.rollout.as_ref().filter(|r| !r.rollout.is_over()) {
        return Err(CommandError::RollsOut { template, to: rollout.to }.into());
    }
    let region = fleet.region.clone().ok_or_else(|| unknown(&name))?;
    app.alarms_are_well(&fleet, &region).await?;
    let (version, image) = match wanted {
        Wanted::Version(version) => (version, None),
        Wanted::Image(image) => {
            let source = launched.ok_or_else(|| {
                let why = "nobody knows which version the fleet launches: no instance shows it yet";
                Refusal::new(StatusCode::SERVICE_UNAVAILABLE, why)
            })?;
            app.image_can_be_launched(&region, (&template, source), &image).await?;
            let made = app.shell.make_version(region, template.clone(), source, image.clone()).await;
            let made = made.map_err(|error| failed("no version of the launch template was made", &error));
            (made?, Some(image))
        }
    };
    app.roll(name, RolloutOrder::Start { template, version, image }, by, reason).await
}

/// What is to be rolled out.
enum Wanted {
    /// A version of the fleet's launch template that is there.
    Version(u64),
    /// A version that is made for this image.
    Image(ImageId),
}

impl Wanted {
    fn of(image: Option<String>, version: Option<u64>) -> Result<Self, Refusal> {
        match (image.map(ImageId::new), version) {
            (None, Some(0)) => Err(bad("version: versions are counted from 1")),
            (None, Some(version)) => Ok(Self::Version(version)),
            (Some(image), None) if image.is_well_formed() => Ok(Self::Image(image)),
            (Some(image), None) => {
                let given = image.as_str();
                Err(bad(&format!("image: expected an id such as ami-0123456789abcdef0, got {given:?}")))
            }
            _ => Err(bad("exactly one of image and version is needed")),
        }
    }
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
