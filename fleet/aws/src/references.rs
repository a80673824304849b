//! Whatever refers to an image: instances, versions of launch templates, fleets; and who launches which version.

use crate::action::Action;
use crate::client::{Aws, InRegion};
use aws_sdk_ec2::types::{
    FleetLaunchTemplateConfig, FleetLaunchTemplateSpecification, InstanceStateName, LaunchTemplateVersion,
    ResponseLaunchTemplateData, SpotFleetRequestConfigData,
};
use fleet::{ApiError, ErrorClass};
use std::collections::{BTreeMap, BTreeSet};

/// What EC2 writes on an instance of an Auto Scaling group, and on one that a template launched.
const OF_A_GROUP: &str = "aws:autoscaling:groupName";
const OF_A_TEMPLATE: &str = "aws:ec2launchtemplate:id";

/// Something that launches, or was launched from, an image.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reference {
    /// An instance that has not ended.
    Instance {
        /// `i-…`.
        id: String,
        /// EC2's word for its state.
        state: String,
    },
    /// A version of a launch template.
    Template {
        /// `lt-…`.
        id: String,
        /// Its number.
        version: i64,
    },
    /// A fleet whose own launch specifications or overrides name an image.
    Fleet {
        /// `sfr-…` or `fleet-…`.
        id: String,
    },
}

/// A reference, and what it names: an image's id, or `resolve:ssm:` with the name of a parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Referred {
    /// Who refers.
    pub by: Reference,
    /// To what.
    pub to: String,
}

/// A launch template.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TemplateSeen {
    /// Its name.
    pub name: String,
    /// The number of its default version, where that was said.
    pub default: Option<i64>,
    /// The numbers of all its versions, those that name no image too.
    pub versions: BTreeSet<i64>,
    /// Whether an instance of an Auto Scaling group was launched from it that has not ended.
    pub of_a_group: bool,
}

/// A fleet launches a version of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Launches {
    /// `sfr-…` or `fleet-…`.
    pub fleet: String,
    /// The template's id or its name, as the fleet has it.
    pub template: String,
    /// A number, `$Latest` or `$Default`, as the fleet has it.
    pub version: Option<String>,
}

/// Everything of one account and region that could need an image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct References {
    /// Whatever names an image.
    pub named: Vec<Referred>,
    /// The launch templates by their ids.
    pub templates: BTreeMap<String, TemplateSeen>,
    /// Which versions of them fleets launch.
    pub launches: Vec<Launches>,
}

impl Aws {
    /// Everything of this account and region that names an image: instances that have not ended, all versions of all launch
    /// templates, and fleets by their own specifications; and which versions the fleets launch. Complete, or a failure. Safe to
    /// repeat.
    ///
    /// Templates are listed last, so that each one that a fleet names is among them, or is gone.
    ///
    /// Calls: a page for 1000 instances, one for 200 templates, one or more for each template, one or more for the fleets.
    pub async fn references(&self) -> Result<References, ApiError> {
        let region = self.in_region();
        let mut found = References::default();
        let of_groups = instances(region, &mut found).await?;
        spot_fleets(region, &mut found).await?;
        ec2_fleets(region, &mut found).await?;
        templates(region, &mut found).await?;
        for id in of_groups {
            found.templates.entry(id).and_modify(|template| template.of_a_group = true);
        }
        Ok(found)
    }
}

/// * returns: the templates that instances of Auto Scaling groups were launched from.
async fn instances(region: &InRegion, found: &mut References) -> Result<BTreeSet<String>, ApiError> {
    let send = |token| region.ec2.describe_instances().max_results(1000).set_next_token(token).send();
    let reservations = region.pages(Action::DescribeInstances, usize::MAX, send, |page| {
        (page.reservations.unwrap_or_default(), page.next_token)
    });
    let mut of_groups = BTreeSet::new();
    for instance in reservations.await?.into_iter().flat_map(|one| one.instances.unwrap_or_default()) {
        let state = instance.state().and_then(|state| state.name());
        if state == Some(&InstanceStateName::Terminated) {
            continue;
        }
        let tag = |key: &str| instance.tags().iter().find(|tag| tag.key() == Some(key))?.value();
        if let (Some(_), Some(template)) = (tag(OF_A_GROUP), tag(OF_A_TEMPLATE)) {
            of_groups.insert(template.to_owned());
        }
        let state = state.map(|state| state.as_str().to_owned()).unwrap_or_default();
        if let (Some(id), Some(image)) = (instance.instance_id, instance.image_id) {
            found.named.push(Referred { by: Reference::Instance { id, state }, to: image });
        }
    }
    Ok(of_groups)
}

async fn templates(region: &InRegion, found: &mut References) -> Result<(), ApiError> {
    let send = |token| region.ec2.describe_launch_templates().max_results(200).set_next_token(token).send();
    let templates = region.pages(Action::DescribeLaunchTemplates, usize::MAX, send, |page| {
        (page.launch_templates.unwrap_or_default(), page.next_token)
    });
    for template in templates.await? {
        let Some(id) = template.launch_template_id else { continue };
        let versions = match versions(region, &id).await {
            // Deleted since it was listed.
            Err(error) if error.class == ErrorClass::NotFound => continue,
            versions => versions?,
        };
        for version in &versions {
            let image = version.launch_template_data().and_then(ResponseLaunchTemplateData::image_id);
            if let Some(image) = image.filter(|image| !image.is_empty()) {
                let number = version.version_number().unwrap_or_default();
                let by = Reference::Template { id: id.clone(), version: number };
                found.named.push(Referred { by, to: image.to_owned() });
            }
        }
        let seen = TemplateSeen {
            name: template.launch_template_name.unwrap_or_default(),
            default: template.default_version_number,
            versions: versions.iter().filter_map(LaunchTemplateVersion::version_number).collect(),
            of_a_group: false,
        };
        found.templates.insert(id, seen);
    }
    Ok(())
}

async fn versions(region: &InRegion, template: &str) -> Result<Vec<LaunchTemplateVersion>, ApiError> {
    let send = |token| {
        let call = region.ec2.describe_launch_template_versions().launch_template_id(template);
        call.max_results(200).set_next_token(token).send()
    };
    let versions = region.pages(Action::DescribeLaunchTemplateVersions, usize::MAX, send, |page| {
        (page.launch_template_versions.unwrap_or_default(), page.next_token)
    });
    versions.await
}

/// What a fleet launches, where it launches a template's version.
fn launches(fleet: &str, named: Option<&FleetLaunchTemplateSpecification>) -> Option<Launches> {
    let template = named?.launch_template_id().or(named?.launch_template_name())?;
    let version = named?.version().map(str::to_owned);
    Some(Launches { fleet: fleet.to_owned(), template: template.to_owned(), version })
}

/// Notes what a fleet names by itself, and which versions it launches.
fn note<'a>(
    found: &mut References,
    fleet: &str,
    images: impl Iterator<Item = &'a str>,
    templates: impl Iterator<Item = Option<&'a FleetLaunchTemplateSpecification>>,
) {
    let by = Reference::Fleet { id: fleet.to_owned() };
    found.named.extend(images.map(|image| Referred { by: by.clone(), to: image.to_owned() }));
    found.launches.extend(templates.filter_map(|one| launches(fleet, one)));
}

async fn spot_fleets(region: &InRegion, found: &mut References) -> Result<(), ApiError> {
    let send =
        |token| region.ec2.describe_spot_fleet_requests().max_results(1000).set_next_token(token).send();
    let fleets = region.pages(Action::DescribeSpotFleetRequests, usize::MAX, send, |page| {
        (page.spot_fleet_request_configs.unwrap_or_default(), page.next_token)
    });
    for fleet in fleets.await? {
        let ended = fleet.spot_fleet_request_state().is_some_and(|state| state.as_str() == "cancelled");
        let (Some(id), false) = (fleet.spot_fleet_request_id(), ended) else { continue };
        let config = fleet.spot_fleet_request_config();
        let named = config.map(SpotFleetRequestConfigData::launch_specifications).unwrap_or_default().iter();
        let configs = config.map(SpotFleetRequestConfigData::launch_template_configs).unwrap_or_default();
        let templates = configs.iter().map(|one| one.launch_template_specification());
        note(found, id, named.filter_map(|specification| specification.image_id()), templates);
    }
    Ok(())
}

async fn ec2_fleets(region: &InRegion, found: &mut References) -> Result<(), ApiError> {
    let send = |token| region.ec2.describe_fleets().max_results(1000).set_next_token(token).send();
    let fleets = region.pages(Action::DescribeFleets, usize::MAX, send, |page| {
        (page.fleets.unwrap_or_default(), page.next_token)
    });
    for fleet in fleets.await? {
        let ended = fleet.fleet_state().is_some_and(|state| state.as_str() == "deleted");
        let (Some(id), false) = (fleet.fleet_id(), ended) else { continue };
        let configs = fleet.launch_template_configs();
        let named = configs.iter().flat_map(FleetLaunchTemplateConfig::overrides);
        let templates = configs.iter().map(|one| one.launch_template_specification());
        note(found, id, named.filter_map(|line| line.image_id()), templates);
    }
    Ok(())
}
