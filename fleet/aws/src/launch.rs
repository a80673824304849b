//! A fleet's shopping list, with what AWS leaves to be looked up: the zone of a subnet, and the type that a
//! launch template launches when the fleet overrides nothing.
//!
//! Both are asked for once and remembered. Neither is essential: when the answer cannot be had (the permissions
//! may be withheld), the override stands without its zone, or is left out.

use crate::action::Action;
use crate::client::InRegion;
use crate::governor::Toll;
use aws_sdk_ec2::types::{Filter, FleetLaunchTemplateSpecification, LaunchTemplateVersion, Subnet};
use fleet::{ErrorClass, FleetState, FleetView, InstanceType, Override, Weight, Zone};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{MutexGuard, PoisonError};
use std::time::Duration;

/// How long an answer holds that may change (`$Default`, `$Latest`), and how long a refusal is not asked again.
const HOLDS: Duration = Duration::from_secs(600);
/// EC2's limit of values in one filter.
pub(crate) const FILTER_VALUES: usize = 200;

/// A fleet whose shopping list still holds references.
pub(crate) struct Draft {
    /// The fleet, with an empty list.
    pub view: FleetView,
    /// Its list.
    pub wants: Vec<Want>,
}

/// One line of a shopping list as AWS has it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Want {
    /// The type; where it is missing, the template's.
    pub instance_type: Option<String>,
    /// The template that the line belongs to.
    pub template: Option<Template>,
    /// The zone, where the line names it.
    pub zone: Option<String>,
    /// The subnet, where the line names it.
    pub subnet: Option<String>,
    /// The weight, where the line gives one.
    pub weight: Option<f64>,
}

/// One version of a launch template.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Template {
    /// `lt-…`, or the template's name.
    pub id_or_name: String,
    /// A number, `$Default` or `$Latest`.
    pub version: String,
}

impl Template {
    /// `None` when AWS named no template at all.
    pub(crate) fn from_sdk(specification: &FleetLaunchTemplateSpecification) -> Option<Self> {
        let id_or_name = specification.launch_template_id().or(specification.launch_template_name())?;
        let version = specification.version().unwrap_or("$Default");
        Some(Self { id_or_name: id_or_name.to_owned(), version: version.to_owned() })
    }
    /// Whether it stays what it is forever.
    fn is_fixed(&self) -> bool {
        self.version.parse::<u64>().is_ok()
    }
}

/// What was looked up in one region, and until when it holds (forever without a time).
#[derive(Default)]
pub(crate) struct Known {
    subnets: BTreeMap<String, Answer>,
    templates: BTreeMap<Template, Answer>,
    /// What each EC2 Fleet buys by default: it has to be sent back unchanged with every modification.
    pub default_markets: BTreeMap<fleet::FleetId, aws_sdk_ec2::types::DefaultTargetCapacityType>,
}

struct Answer {
    text: Option<String>,
    until: Option<Duration>,
}

fn holds<K: Ord>(answers: &BTreeMap<K, Answer>, key: &K, now: Duration) -> bool {
    answers.get(key).is_some_and(|answer| answer.until.is_none_or(|until| now < until))
}

fn locked(region: &InRegion) -> MutexGuard<'_, Known> {
    // A panic elsewhere leaves nothing half done in here.
    region.known.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Looks up what is not known yet, and fills in the shopping lists. Never fails.
pub(crate) async fn complete(region: &InRegion, drafts: Vec<Draft>) -> Vec<FleetView> {
    let living = |draft: &&Draft| {
        matches!(draft.view.state, FleetState::Submitted | FleetState::Active | FleetState::Modifying)
    };
    let wants = || drafts.iter().filter(living).flat_map(|draft| &draft.wants);
    let now = region.clock.monotonic();
    let (subnets, templates) = {
        let known = locked(region);
        let subnets = wants().filter(|want| want.zone.is_none()).filter_map(|want| want.subnet.clone());
        let subnets: BTreeSet<_> = subnets.filter(|id| !holds(&known.subnets, id, now)).collect();
        let templates = wants().filter(|want| want.instance_type.is_none());
        let templates = templates.filter_map(|want| want.template.clone());
        let templates: BTreeSet<_> = templates.filter(|key| !holds(&known.templates, key, now)).collect();
        (subnets.into_iter().collect::<Vec<_>>(), templates)
    };
    for ids in subnets.chunks(FILTER_VALUES) {
        look_up_subnets(region, ids).await;
    }
    for template in templates {
        look_up_template(region, template).await;
    }
    let known = locked(region);
    drafts.into_iter().map(|draft| fill_in(draft, &known)).collect()
}

fn fill_in(draft: Draft, known: &Known) -> FleetView {
    let Draft { mut view, wants } = draft;
    for want in wants {
        let of_template = |template: &Template| known.templates.get(template)?.text.clone();
        let of_subnet = |subnet: &String| known.subnets.get(subnet)?.text.clone();
        let Some(instance_type) = want.instance_type.or_else(|| want.template.as_ref().and_then(of_template))
        else {
            continue;
        };
        let line = Override {
            instance_type: InstanceType::new(instance_type),
            zone: want.zone.or_else(|| want.subnet.as_ref().and_then(of_subnet)).map(Zone::new),
            weight: Weight::new(want.weight.unwrap_or(1.0)),
        };
        if !view.overrides.contains(&line) {
            view.overrides.push(line);
        }
    }
    view
}

async fn look_up_subnets(region: &InRegion, ids: &[String]) {
    let action = Action::DescribeSubnets;
    // By filter, because an id that is gone makes a call by ids fail for all.
    let filter = Filter::builder().name("subnet-id").set_values(Some(ids.to_vec())).build();
    let send = |token| {
        region.ec2.describe_subnets().filters(filter.clone()).set_next_token(token).max_results(1000).send()
    };
    let answer =
        region.pages(action, usize::MAX, send, |page| (page.subnets.unwrap_or_default(), page.next_token));
    let answer = answer.await;
    let until = region.clock.monotonic() + HOLDS;
    let mut known = locked(region);
    match answer {
        Ok(subnets) => {
            let zone_of = |subnet: &Subnet| subnet.availability_zone().map(str::to_owned);
            for id in ids {
                let text = subnets.iter().find(|subnet| subnet.subnet_id() == Some(id)).and_then(zone_of);
                // A subnet stays in its zone for good.
                let until = if text.is_some() { None } else { Some(until) };
                known.subnets.insert(id.clone(), Answer { text, until });
            }
        }
        Err(error) => {
            tracing::warn!(error = %error, "zones of subnets stayed unknown");
            if error.class != ErrorClass::Transient {
                let unknown = |id: &String| (id.clone(), Answer { text: None, until: Some(until) });
                known.subnets.extend(ids.iter().map(unknown));
            }
        }
    }
}

async fn look_up_template(region: &InRegion, template: Template) {
    let action = Action::DescribeLaunchTemplateVersions;
    let send = || {
        let call = region.ec2.describe_launch_template_versions().versions(&template.version);
        if template.id_or_name.starts_with("lt-") {
            call.launch_template_id(&template.id_or_name).send()
        } else {
            call.launch_template_name(&template.id_or_name).send()
        }
    };
    let answer = region.call(action, Toll::None, send).await;
    let until = region.clock.monotonic() + HOLDS;
    let mut known = locked(region);
    match answer {
        Ok(found) => {
            let type_of = |version: &LaunchTemplateVersion| {
                Some(version.launch_template_data()?.instance_type()?.as_str().to_owned())
            };
            let text = found.launch_template_versions().first().and_then(type_of);
            let until = if template.is_fixed() && text.is_some() { None } else { Some(until) };
            known.templates.insert(template, Answer { text, until });
        }
        Err(error) => {
            tracing::warn!(error = %error, "type of a launch template stayed unknown");
            if error.class != ErrorClass::Transient {
                known.templates.insert(template, Answer { text: None, until: Some(until) });
            }
        }
    }
}
