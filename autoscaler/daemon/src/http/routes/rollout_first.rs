//! What is looked at before a roll-out is ordered: the alarms that it watches, and the image.

use super::{App, Refusal, Shell};
use autoscaler_engine::FleetStatus;
use axum::http::StatusCode;
use fleet::{AlarmState, ApiError, ErrorClass, ImageId, ImageView, Region, chain};

/// The image that is to be launched, and the one that is launched now, as far as they can be seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Images {
    /// The one that is to be.
    pub wanted: Option<ImageView>,
    /// The one that is; `None` where nobody may see what the fleet launches, or it is gone.
    pub present: Option<ImageView>,
}

impl<S: Shell> App<S> {
    /// Refuses a roll-out while an alarm that it watches is off, or does not exist: it would be halted at once, or replace
    /// nobody.
    pub(super) async fn alarms_are_well(&self, fleet: &FleetStatus, region: &Region) -> Result<(), Refusal> {
        let names = &fleet.watches;
        if names.is_empty() {
            return Ok(());
        }
        let found = self.shell.alarms(region.clone(), names.clone()).await;
        let found =
            found.map_err(|error| failed("the alarms that the policy names were not read", &error))?;
        let missing = names.iter().filter(|name| !found.iter().any(|alarm| alarm.name == **name));
        let missing: Vec<&str> = missing.map(String::as_str).collect();
        if !missing.is_empty() {
            let names = missing.join(", ");
            return Err(refused(format!(
                "no alarm of CloudWatch in {region} is called {names}: make it, or take it out of `rollout.alarms`"
            )));
        }
        let Some(off) = found.iter().find(|alarm| alarm.state == AlarmState::Alarm) else { return Ok(()) };
        let since = off.since.map(|since| format!(" since {since}")).unwrap_or_default();
        Err(refused(format!(
            "alarm {} is off{since}: a roll-out begins when the alarms that it watches are not",
            off.name
        )))
    }

    /// Refuses an image that the fleet could not launch in place of what it launches.
    pub(super) async fn image_can_be_launched(
        &self,
        region: &Region,
        (template, version): (&str, u64),
        image: &ImageId,
    ) -> Result<(), Refusal> {
        let seen = self.shell.images(region.clone(), template.to_owned(), version, image.clone()).await;
        let seen = seen.map_err(|error| failed(&format!("image {image} was not looked up"), &error))?;
        unfit(&seen, image, region).map_or(Ok(()), |why| Err(refused(why)))
    }
}

/// Why an image cannot be launched in place of what is launched now, and what could be.
fn unfit(Images { wanted, present }: &Images, image: &ImageId, region: &Region) -> Option<String> {
    let Some(wanted) = wanted else {
        return Some(format!(
            "image {image} does not exist in {region}, was deregistered, or is not shared with this account: it takes an \
             image of that region that is `available`"
        ));
    };
    if !wanted.is_available() {
        let ends = if wanted.state == "pending" { "wait until it is" } else { "it takes one that is" };
        return Some(format!("image {image} is `{}`: {ends} `available`", wanted.state));
    }
    let present = present.as_ref()?;
    let (is, takes, now) = (wanted.architecture.as_deref()?, present.architecture.as_deref()?, &present.id);
    (is != takes).then(|| {
        format!("image {image} is of {is}, and the fleet launches {now}, which is of {takes}: it takes one of {takes}")
    })
}

fn refused(why: String) -> Refusal {
    Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, why)
}

/// Something that AWS was asked and did not do.
pub(super) fn failed(what: &str, error: &ApiError) -> Refusal {
    let status = match error.class() {
        ErrorClass::Throttled { .. } | ErrorClass::Transient | ErrorClass::Unclear => {
            StatusCode::SERVICE_UNAVAILABLE
        }
        ErrorClass::Malformed | ErrorClass::NotFound => StatusCode::UNPROCESSABLE_ENTITY,
        _ => StatusCode::BAD_GATEWAY,
    };
    Refusal::new(status, format!("{what}: {}", chain(error)))
}
