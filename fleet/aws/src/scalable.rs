//! Whether somebody else scales a fleet.

use crate::action::Action;
use crate::client::InRegion;
use aws_sdk_applicationautoscaling::types::{ScalableDimension, ServiceNamespace};
use fleet::{ApiError, Backend, FleetRef};
use std::collections::BTreeSet;

/// Application Auto Scaling's limit of resources in one request.
const RESOURCES_AT_ONCE: usize = 50;

/// Which of the fleets are scalable targets. Only Spot Fleets can be; EC2 Fleets cost no call.
pub(crate) async fn targets(region: &InRegion, fleets: &[FleetRef]) -> Result<Vec<FleetRef>, ApiError> {
    let spot_fleets: Vec<&FleetRef> =
        fleets.iter().filter(|fleet| fleet.backend == Backend::SpotFleet).collect();
    let mut found = BTreeSet::new();
    for fleets in spot_fleets.chunks(RESOURCES_AT_ONCE) {
        let ids: Vec<String> = fleets.iter().map(|fleet| resource_id(fleet)).collect();
        let send = |token| {
            let call = region.autoscaling.describe_scalable_targets();
            call.service_namespace(ServiceNamespace::Ec2)
                .scalable_dimension(ScalableDimension::Ec2SpotFleetRequestTargetCapacity)
                .set_resource_ids(Some(ids.clone()))
                .set_next_token(token)
                .send()
        };
        let targets = region.pages(Action::DescribeScalableTargets, usize::MAX, send, |page| {
            (page.scalable_targets.unwrap_or_default(), page.next_token)
        });
        found.extend(targets.await?.into_iter().map(|target| target.resource_id));
    }
    let is_target = |fleet: &&&FleetRef| found.contains(&resource_id(fleet));
    Ok(spot_fleets.iter().filter(is_target).map(|fleet| (*fleet).clone()).collect())
}

fn resource_id(fleet: &FleetRef) -> String {
    format!("spot-fleet-request/{}", fleet.id)
}
