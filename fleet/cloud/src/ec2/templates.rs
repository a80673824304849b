//! Launch templates and their versions.

use super::filter::Filters;
use super::fleets::unsupported;
use super::machines::groups_of;
use super::page::page;
use super::{invalid, missing, required, tag_set, tags_of};
use crate::service::Operation;
use crate::shared::{Context, Failure, locked};
use crate::sigv4::hmac;
use crate::wire::{AwsError, Data, map};
use fleet::Timestamp;
use fleet_sim::WorldSpec;
use std::collections::BTreeMap;

pub(crate) const OPERATIONS: &[Operation] = &[
    Operation::by_gate("CreateLaunchTemplate", create_launch_template),
    Operation::by_gate("CreateLaunchTemplateVersion", create_launch_template_version),
    Operation::by_gate("DeleteLaunchTemplate", delete_launch_template),
    Operation::by_gate("DescribeLaunchTemplates", describe_launch_templates),
    Operation::by_gate("DescribeLaunchTemplateVersions", describe_launch_template_versions),
];

/// The most templates, and the most versions of one.
const MAX: usize = 5000;

/// All launch templates. The default version is the first: nothing here changes it.
#[derive(Debug, Default)]
pub(crate) struct Templates {
    by_id: BTreeMap<String, Template>,
    /// Whether those of the world's own fleets are in it.
    knows_the_worlds: bool,
}

#[derive(Debug)]
struct Template {
    name: String,
    created: Timestamp,
    tags: BTreeMap<String, String>,
    /// From 1 on.
    versions: Vec<Version>,
    /// The numbers of versions by the tokens that they were made with.
    tokens: BTreeMap<String, usize>,
}

/// A version of a template.
#[derive(Clone, Debug)]
pub(super) struct Version {
    pub template_id: String,
    pub number: usize,
    description: Option<String>,
    created: Timestamp,
    /// `LaunchTemplateData`, as the request gave it.
    data: Data,
}

impl Version {
    pub fn image(&self) -> &str {
        self.data.get("ImageId").as_str().unwrap_or_default()
    }
    pub fn key(&self) -> Option<&str> {
        self.data.get("KeyName").as_str()
    }
    pub fn instance_type(&self) -> Option<&str> {
        self.data.get("InstanceType").as_str()
    }
    pub fn detailed_monitoring(&self) -> bool {
        self.data.get("Monitoring").get("Enabled").as_bool().unwrap_or(false)
    }
    /// Where its launches buy, and what their disks are, as it says.
    pub fn spot(&self) -> bool {
        self.data.get("InstanceMarketOptions").get("MarketType").as_str() == Some("spot")
    }
    pub fn devices(&self) -> &Data {
        self.data.get("BlockDeviceMapping")
    }
    /// The zone that it names, by itself or by its network interface's subnet.
    pub fn subnet(&self) -> Option<&str> {
        self.data.get("NetworkInterface").items().first()?.get("SubnetId").as_str()
    }
    pub fn groups(&self) -> Vec<&str> {
        groups_of(&self.data)
    }
    pub fn zone(&self) -> Option<&str> {
        self.data.get("Placement").get("AvailabilityZone").as_str()
    }
    pub fn volume_tags(&self) -> BTreeMap<String, String> {
        tags_of(&self.data, "volume")
    }
    pub fn instance_tags(&self) -> BTreeMap<String, String> {
        tags_of(&self.data, "instance")
    }
}

impl Templates {
    /// Takes up the templates that the world's own fleets were made with.
    pub fn know_those_of(&mut self, spec: &WorldSpec, now: Timestamp) {
        if self.knows_the_worlds {
            return;
        }
        self.knows_the_worlds = true;
        let default = fleet_sim::FleetRequest::default();
        for request in spec.fleets.iter().map(|fleet| &fleet.request).chain([&default]) {
            let (id, version) = &request.launch_template;
            let number: usize = version.parse().unwrap_or(1).clamp(1, MAX);
            let data = map([
                ("ImageId", request.image.as_str().into()),
                ("Monitoring", map([("Enabled", request.detailed_monitoring.into())])),
            ]);
            let template = self.by_id.entry(id.clone()).or_insert_with(|| Template {
                name: format!("muster-{}", &id[id.len().saturating_sub(4)..]),
                created: now,
                tags: BTreeMap::new(),
                versions: Vec::new(),
                tokens: BTreeMap::new(),
            });
            while template.versions.len() < number {
                template.versions.push(Version {
                    template_id: id.clone(),
                    number: template.versions.len() + 1,
                    description: None,
                    created: now,
                    data: data.clone(),
                });
            }
        }
    }

    /// The id of the template that a request names, by id or by name.
    fn id_of(&self, input: &Data) -> Result<String, AwsError> {
        match (input.get("LaunchTemplateId").as_str(), input.get("LaunchTemplateName").as_str()) {
            (Some(_), Some(_)) => Err(AwsError::new(
                "InvalidParameterCombination",
                "Specify either the launch template ID or the launch template name, not both",
            )),
            (Some(id), None) if self.by_id.contains_key(id) => Ok(id.to_owned()),
            (Some(id), None) => {
                let message =
                    format!("The specified launch template, with template ID {id}, does not exist.");
                Err(AwsError::new("InvalidLaunchTemplateId.NotFound", message))
            }
            (None, Some(name)) => {
                let found = self.by_id.iter().find(|(_, template)| template.name == name);
                found.map(|(id, _)| id.clone()).ok_or_else(|| {
                    let message =
                        format!("The specified launch template, with template name {name}, does not exist.");
                    AwsError::new("InvalidLaunchTemplateName.NotFoundException", message)
                })
            }
            (None, None) => Err(missing("LaunchTemplateId")),
        }
    }

    /// The user data of a version, in base64; `None` where it has none.
    ///
    /// * `version`: its number, as instances have it in a tag.
    pub fn user_data(&self, template: &str, version: &str) -> Option<&str> {
        self.version(template, version).ok()?.data.get("UserData").as_str()
    }

    /// The tags of a template.
    pub(super) fn tags_of(&mut self, id: &str) -> Option<&mut BTreeMap<String, String>> {
        self.by_id.get_mut(id).map(|template| &mut template.tags)
    }

    /// The tags of all templates, by id.
    pub(super) fn tags(&self) -> impl Iterator<Item = (String, BTreeMap<String, String>)> {
        self.by_id.iter().map(|(id, template)| (id.clone(), template.tags.clone()))
    }

    /// The version that a specification names; `$Default` without one. A fleet keeps what this gives: neither
    /// kind of fleet follows `$Default` or `$Latest` here.
    pub(super) fn resolve(&self, specification: &Data) -> Result<&Version, AwsError> {
        let id = self.id_of(specification)?;
        let word = specification.get("Version").as_str().unwrap_or("$Default");
        self.version(&id, word)
    }

    fn version(&self, id: &str, word: &str) -> Result<&Version, AwsError> {
        let versions = self.by_id.get(id).map_or(&[][..], |template| &template.versions);
        let found = match word {
            "$Default" => versions.first(),
            "$Latest" => versions.last(),
            number => number.parse::<usize>().ok().and_then(|n| versions.get(n.checked_sub(1)?)),
        };
        found.ok_or_else(|| {
            let message = format!("Could not find launch template version {word} of {id}.");
            AwsError::new("InvalidLaunchTemplateId.VersionNotFound", message)
        })
    }
}

/// The templates, with those of the world's fleets among them.
pub(super) fn with_templates<T>(
    context: &Context<'_>,
    then: impl FnOnce(&mut Templates, Timestamp) -> T,
) -> T {
    let (spec, now) = {
        let world = context.world();
        (world.spec().clone(), world.now())
    };
    let mut templates = locked(&context.shared.templates);
    templates.know_those_of(&spec, now);
    then(&mut templates, now)
}

fn create_launch_template(context: &Context<'_>, input: &Data) -> Result<Data, Failure> {
    let name = required(input, "LaunchTemplateName")?;
    if !(3..=128).contains(&name.len()) {
        return Err(invalid(name, "LaunchTemplateName").into());
    }
    if input.get("LaunchTemplateData").is_null() {
        return Err(missing("LaunchTemplateData").into());
    }
    let principal = context.principal.arn(&context.world().spec().account);
    with_templates(context, |templates, now| {
        if templates.by_id.values().any(|template| template.name == name) {
            let message = "Launch template name already in use.";
            return Err(AwsError::new("InvalidLaunchTemplateName.AlreadyExistsException", message).into());
        }
        if templates.by_id.len() >= MAX {
            return Err(unsupported("more than 5000 launch templates").into());
        }
        let id = format!("lt-{}", &hex::encode(hmac(b"launch-template", name))[..17]);
        let version = Version {
            template_id: id.clone(),
            number: 1,
            description: input.get("VersionDescription").as_str().map(str::to_owned),
            created: now,
            data: input.get("LaunchTemplateData").clone(),
        };
        let template = Template {
            name: name.to_owned(),
            created: now,
            tags: tags_of(input, "launch-template"),
            versions: vec![version],
            tokens: BTreeMap::new(),
        };
        let answer = shown(&id, &template, &principal);
        templates.by_id.insert(id, template);
        Ok(map([("launchTemplate", answer)]))
    })
}

fn create_launch_template_version(context: &Context<'_>, input: &Data) -> Result<Data, Failure> {
    if input.get("LaunchTemplateData").is_null() {
        return Err(missing("LaunchTemplateData").into());
    }
    let principal = context.principal.arn(&context.world().spec().account);
    with_templates(context, |templates, now| {
        let id = templates.id_of(input)?;
        let mut data = match input.get("SourceVersion").as_str() {
            Some(word) => templates.version(&id, word)?.data.entries().to_vec(),
            None => Vec::new(),
        };
        // What is given replaces what the source has under the same name.
        for (name, value) in input.get("LaunchTemplateData").entries() {
            data.retain(|(known, _)| known != name);
            data.push((name.clone(), value.clone()));
        }
        let Some(template) = templates.by_id.get_mut(&id).filter(|template| template.versions.len() < MAX)
        else {
            return Err(unsupported("more than 5000 versions of a launch template").into());
        };
        // The same again is the same version.
        let token = input.get("ClientToken").as_str();
        if let Some(made) = token.and_then(|token| template.tokens.get(token)) {
            let answer = shown_version(&template.versions[made - 1], &template.name, &principal);
            return Ok(map([("launchTemplateVersion", answer)]));
        }
        if let Some(token) = token {
            template.tokens.insert(token.to_owned(), template.versions.len() + 1);
        }
        let version = Version {
            template_id: id,
            number: template.versions.len() + 1,
            description: input.get("VersionDescription").as_str().map(str::to_owned),
            created: now,
            data: Data::Map(data),
        };
        let answer = shown_version(&version, &template.name, &principal);
        template.versions.push(version);
        Ok(map([("launchTemplateVersion", answer)]))
    })
}

fn delete_launch_template(context: &Context<'_>, input: &Data) -> Result<Data, Failure> {
    let principal = context.principal.arn(&context.world().spec().account);
    with_templates(context, |templates, _| {
        let id = templates.id_of(input)?;
        let gone = templates.by_id.remove(&id).map(|template| shown(&id, &template, &principal));
        Ok(map([("launchTemplate", gone.into())]))
    })
}

fn describe_launch_templates(context: &Context<'_>, input: &Data) -> Result<Data, Failure> {
    const FILTERS: &[&str] = &["launch-template-name", "create-time"];
    let filters = Filters::read(input, FILTERS, true)?;
    let (ids, names) = (input.get("LaunchTemplateId").texts(), input.get("LaunchTemplateName").texts());
    let principal = context.principal.arn(&context.world().spec().account);
    with_templates(context, |templates, _| {
        for id in &ids {
            templates.id_of(&map([("LaunchTemplateId", (*id).into())]))?;
        }
        for name in &names {
            templates.id_of(&map([("LaunchTemplateName", (*name).into())]))?;
        }
        let all = ids.is_empty() && names.is_empty();
        let found = templates
            .by_id
            .iter()
            .filter(|(id, template)| {
                all || ids.contains(&id.as_str()) || names.contains(&template.name.as_str())
            })
            .filter(|(_, template)| {
                filters.pass(&template.tags, |filter| {
                    Some(if filter == "create-time" {
                        template.created.to_string()
                    } else {
                        template.name.clone()
                    })
                })
            })
            .map(|(id, template)| (id.clone(), shown(id, template, &principal)));
        let page = page(input, 1..=200, found)?;
        Ok(map([("launchTemplates", Data::List(page.items)), ("nextToken", page.next)]))
    })
}

fn describe_launch_template_versions(context: &Context<'_>, input: &Data) -> Result<Data, Failure> {
    let wanted = input.get("LaunchTemplateVersion").texts();
    let bound = |name: &str| input.get(name).as_i64().and_then(|number| usize::try_from(number).ok());
    let (min, max) = (bound("MinVersion").unwrap_or(1), bound("MaxVersion").unwrap_or(usize::MAX));
    let principal = context.principal.arn(&context.world().spec().account);
    with_templates(context, |templates, _| {
        let id = templates.id_of(input)?;
        let name = templates.by_id.get(&id).map(|template| template.name.clone()).unwrap_or_default();
        let versions: Vec<&Version> = if wanted.is_empty() {
            templates.by_id.get(&id).map_or(&[][..], |template| &template.versions).iter().collect()
        } else {
            wanted.iter().map(|word| templates.version(&id, word)).collect::<Result<_, _>>()?
        };
        let found = versions
            .into_iter()
            .filter(|version| (min..=max).contains(&version.number))
            .map(|version| (format!("{:08}", version.number), shown_version(version, &name, &principal)));
        let page = page(input, 1..=200, found)?;
        Ok(map([("launchTemplateVersionSet", Data::List(page.items)), ("nextToken", page.next)]))
    })
}

fn shown(id: &str, template: &Template, by: &str) -> Data {
    map([
        ("launchTemplateId", id.into()),
        ("launchTemplateName", template.name.as_str().into()),
        ("createTime", template.created.into()),
        ("createdBy", by.into()),
        ("defaultVersionNumber", 1i64.into()),
        ("latestVersionNumber", template.versions.len().into()),
        ("tagSet", tag_set(&template.tags)),
    ])
}

fn shown_version(version: &Version, name: &str, by: &str) -> Data {
    map([
        ("launchTemplateId", version.template_id.as_str().into()),
        ("launchTemplateName", name.into()),
        ("versionNumber", version.number.into()),
        ("versionDescription", version.description.as_deref().into()),
        ("createTime", version.created.into()),
        ("createdBy", by.into()),
        ("defaultVersion", (version.number == 1).into()),
        ("launchTemplateData", shown_data(&version.data)),
    ])
}

/// The part of a template's data that the simulation acts upon, and its plain texts, in the answers' spelling.
fn shown_data(data: &Data) -> Data {
    let text = |name: &str| data.get(name).as_str().into();
    let profile = data.get("IamInstanceProfile");
    let profile = (!profile.is_null()).then(|| {
        map([("arn", profile.get("Arn").as_str().into()), ("name", profile.get("Name").as_str().into())])
    });
    let monitoring = data.get("Monitoring").get("Enabled").as_bool();
    let tags = data.get("TagSpecification").items().iter().map(|specification| {
        let kind = specification.get("ResourceType").as_str().unwrap_or_default();
        let of_kind = map([("TagSpecification", Data::List(vec![specification.clone()]))]);
        map([("resourceType", kind.into()), ("tagSet", tag_set(&tags_of(&of_kind, kind)))])
    });
    let tags: Vec<Data> = tags.collect();
    let groups = data.get("SecurityGroupId").texts();
    map([
        ("imageId", text("ImageId")),
        ("instanceType", text("InstanceType")),
        ("keyName", text("KeyName")),
        ("userData", text("UserData")),
        ("iamInstanceProfile", profile.into()),
        ("monitoring", monitoring.map(|enabled| map([("enabled", enabled.into())])).into()),
        ("securityGroupIdSet", if groups.is_empty() { Data::Null } else { Data::list(groups) }),
        ("tagSpecificationSet", if tags.is_empty() { Data::Null } else { Data::List(tags) }),
    ])
}
