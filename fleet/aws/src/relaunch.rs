//! What a fleet launches: seen, changed to another version of its launch template, and the versions themselves.
//!
//! Both services replace the whole list of configurations. So it is read right before it is written, and goes back as it
//! was but for the version. What a describe does not show in full cannot go back: such a fleet is left as it is.

use crate::action::Action;
use crate::client::InRegion;
use crate::errors;
use crate::governor::Toll;
use aws_sdk_ec2::types::{
    FleetData, FleetLaunchTemplateConfig, FleetLaunchTemplateConfigRequest, FleetLaunchTemplateOverrides,
    FleetLaunchTemplateOverridesRequest, FleetLaunchTemplateSpecification,
    FleetLaunchTemplateSpecificationRequest, LaunchTemplateConfig, LaunchTemplateVersion, Placement,
    RequestLaunchTemplateData, SpotFleetRequestConfigData,
};
use fleet::{ApiError, ErrorClass, FleetId, ImageId, LaunchTemplate};

/// What a fleet launches from, where all of its configurations name the same version of the same template, by its id.
pub(crate) fn launch_of<'a>(
    specifications: impl Iterator<Item = Option<&'a FleetLaunchTemplateSpecification>>,
) -> Option<LaunchTemplate> {
    let mut all = specifications.map(|specification| {
        let specification = specification?;
        let version = specification.version().and_then(|version| version.parse().ok());
        Some(LaunchTemplate { id: specification.launch_template_id()?.to_owned(), version })
    });
    let first = all.next()??;
    all.all(|other| other.as_ref() == Some(&first)).then_some(first)
}

/// A specification with another version; refused where the fleet does not name one template by its id.
fn with_version(
    action: Action,
    launch: Option<LaunchTemplate>,
    version: u64,
) -> Result<(String, String), ApiError> {
    let launch = launch.ok_or_else(|| {
        let message = "not sent: the fleet does not launch from one version of one launch template";
        errors::local(ErrorClass::Malformed, action, message)
    })?;
    Ok((launch.id, version.to_string()))
}

/// A Spot Fleet's configurations as they are now, with another version.
pub(crate) async fn spot_fleet(
    region: &InRegion,
    fleet: &FleetId,
    version: u64,
) -> Result<Vec<LaunchTemplateConfig>, ApiError> {
    let action = Action::DescribeSpotFleetRequests;
    let send = || region.ec2.describe_spot_fleet_requests().spot_fleet_request_ids(fleet.as_str()).send();
    let answer = region.call(action, Toll::None, send).await?;
    let found =
        answer.spot_fleet_request_configs().iter().find_map(|found| found.spot_fleet_request_config());
    let configs = found.map(SpotFleetRequestConfigData::launch_template_configs).unwrap_or_default();
    let launch = launch_of(configs.iter().map(LaunchTemplateConfig::launch_template_specification));
    let (id, version) = with_version(Action::ModifySpotFleetRequest, launch, version)?;
    let specification =
        FleetLaunchTemplateSpecification::builder().launch_template_id(id).version(version).build();
    let config = |config: &LaunchTemplateConfig| {
        LaunchTemplateConfig::builder()
            .launch_template_specification(specification.clone())
            .set_overrides(Some(config.overrides().to_vec()))
            .build()
    };
    Ok(configs.iter().map(config).collect())
}

/// An EC2 Fleet's configurations as they are now, with another version.
pub(crate) async fn ec2_fleet(
    region: &InRegion,
    fleet: &FleetId,
    version: u64,
) -> Result<Vec<FleetLaunchTemplateConfigRequest>, ApiError> {
    let send = || region.ec2.describe_fleets().fleet_ids(fleet.as_str()).send();
    let answer = region.call(Action::DescribeFleets, Toll::None, send).await?;
    let configs = answer.fleets().first().map(FleetData::launch_template_configs).unwrap_or_default();
    let launch = launch_of(configs.iter().map(FleetLaunchTemplateConfig::launch_template_specification));
    let (id, version) = with_version(Action::ModifyFleet, launch, version)?;
    let specification =
        FleetLaunchTemplateSpecificationRequest::builder().launch_template_id(id).version(version).build();
    let config = |config: &FleetLaunchTemplateConfig| {
        let lines = config.overrides().iter().map(line).collect::<Option<Vec<_>>>().ok_or_else(|| {
            let message = "not sent: an override holds what a describe does not show in full";
            errors::local(ErrorClass::Malformed, Action::ModifyFleet, message)
        })?;
        Ok(FleetLaunchTemplateConfigRequest::builder()
            .launch_template_specification(specification.clone())
            .set_overrides(Some(lines))
            .build())
    };
    configs.iter().map(config).collect()
}

/// A line of an EC2 Fleet's list as it is sent; `None` where it cannot go back as it was. One with an image of its own
/// would launch that, whatever the template says.
fn line(shown: &FleetLaunchTemplateOverrides) -> Option<FleetLaunchTemplateOverridesRequest> {
    let whole = shown.instance_requirements().is_none()
        && shown.block_device_mappings().is_empty()
        && shown.image_id().is_none();
    let placement = shown
        .placement()
        .and_then(|placement| placement.group_name())
        .map(|group| Placement::builder().group_name(group).build());
    whole.then(|| {
        FleetLaunchTemplateOverridesRequest::builder()
            .set_instance_type(shown.instance_type().cloned())
            .set_max_price(shown.max_price().map(str::to_owned))
            .set_subnet_id(shown.subnet_id().map(str::to_owned))
            .set_availability_zone(shown.availability_zone().map(str::to_owned))
            .set_availability_zone_id(shown.availability_zone_id().map(str::to_owned))
            .set_weighted_capacity(shown.weighted_capacity())
            .set_priority(shown.priority())
            .set_placement(placement)
            .build()
    })
}

/// Makes a version that is like another but for its image. EC2 knows the same again by its token.
pub(crate) async fn make_version(
    region: &InRegion,
    template: &str,
    source: u64,
    image: &ImageId,
    token: &str,
) -> Result<u64, ApiError> {
    let action = Action::CreateLaunchTemplateVersion;
    let data = RequestLaunchTemplateData::builder().image_id(image.as_str()).build();
    let send = || {
        let call = region.ec2.create_launch_template_version().launch_template_id(template);
        call.source_version(source.to_string())
            .version_description(format!("muster: {image}"))
            .launch_template_data(data.clone())
            .client_token(token)
            .send()
    };
    let answer = Box::pin(region.call(action, Toll::None, send)).await?;
    let number = answer.launch_template_version().and_then(LaunchTemplateVersion::version_number);
    number
        .and_then(|number| u64::try_from(number).ok())
        .ok_or_else(|| errors::local(ErrorClass::Unclear, action, "answered without a version's number"))
}

/// The image that a version names by its id.
pub(crate) async fn image_of(
    region: &InRegion,
    template: &str,
    version: u64,
) -> Result<Option<ImageId>, ApiError> {
    let send = || {
        let call = region.ec2.describe_launch_template_versions().launch_template_id(template);
        call.versions(version.to_string()).send()
    };
    let answer = region.call(Action::DescribeLaunchTemplateVersions, Toll::None, send).await?;
    let found = answer.launch_template_versions().first();
    let image = found.and_then(|version| version.launch_template_data()?.image_id().map(ImageId::new));
    // By a parameter (`resolve:ssm:…`), it is whatever that says when it is launched.
    Ok(image.filter(ImageId::is_well_formed))
}
