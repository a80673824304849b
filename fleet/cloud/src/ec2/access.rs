//! Who gets at a machine that is baked: key pairs and security groups.

use super::filter::Filters;
use super::page::page;
use super::{invalid, missing, required, tag_set, tags_of};
use crate::service::Operation;
use crate::shared::{Context, Failure, locked};
use crate::sigv4::hmac;
use crate::wire::{AwsError, Data, map};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ssh_key::private::Ed25519Keypair;
use ssh_key::{LineEnding, PrivateKey};
use std::collections::BTreeMap;

pub(crate) const OPERATIONS: &[Operation] = &[
    Operation::by_gate("CreateKeyPair", create_key_pair),
    Operation::by_gate("ImportKeyPair", import_key_pair),
    Operation::by_gate("DescribeKeyPairs", describe_key_pairs),
    Operation::by_gate("DeleteKeyPair", delete_key_pair),
    Operation::by_gate("CreateSecurityGroup", create_security_group),
    Operation::by_gate("DescribeSecurityGroups", describe_security_groups),
    Operation::by_gate("DeleteSecurityGroup", delete_security_group),
    Operation::by_gate("AuthorizeSecurityGroupIngress", authorize_ingress),
    Operation::by_gate("AuthorizeSecurityGroupEgress", authorize_egress),
];

/// The most key pairs, the most groups, and the most rules of a group.
const MAX: usize = 1000;
/// The one VPC.
pub(super) const VPC: &str = "vpc-00000000000000001";

/// Key pairs and security groups.
#[derive(Debug, Default)]
pub(crate) struct Access {
    /// By name.
    keys: BTreeMap<String, KeyPair>,
    /// By id.
    groups: BTreeMap<String, Group>,
    made: u64,
}

#[derive(Debug)]
struct KeyPair {
    id: String,
    kind: String,
    /// As OpenSSH writes it; `None`: it opens nothing.
    public: Option<String>,
    tags: BTreeMap<String, String>,
}

#[derive(Debug)]
struct Group {
    name: String,
    description: String,
    ingress: Vec<Data>,
    egress: Vec<Data>,
    tags: BTreeMap<String, String>,
}

impl Access {
    fn next_id(&mut self, prefix: &str) -> String {
        self.made += 1;
        format!("{prefix}-{}", &hex::encode(hmac(prefix.as_bytes(), &self.made.to_string()))[..17])
    }
    /// The tags of a key pair or a group.
    pub(super) fn tags_of(&mut self, id: &str) -> Option<&mut BTreeMap<String, String>> {
        match self.groups.get_mut(id) {
            Some(group) => Some(&mut group.tags),
            None => self.keys.values_mut().find(|key| key.id == id).map(|key| &mut key.tags),
        }
    }
    /// The tags of all key pairs and groups, by id.
    pub(super) fn tags(&self) -> impl Iterator<Item = (String, BTreeMap<String, String>)> {
        let keys = self.keys.values().map(|key| (key.id.clone(), key.tags.clone()));
        keys.chain(self.groups.iter().map(|(id, group)| (id.clone(), group.tags.clone())))
    }
    /// The public half of a key pair, where it opens something.
    pub(super) fn public_key(&self, name: &str) -> Result<Option<String>, AwsError> {
        self.keys.get(name).map(|key| key.public.clone()).ok_or_else(|| {
            AwsError::new("InvalidKeyPair.NotFound", format!("The key pair '{name}' does not exist"))
        })
    }
    fn room_for_key(&self, name: &str) -> Result<(), AwsError> {
        if name.is_empty() || name.len() > 255 {
            return Err(invalid(name, "KeyName"));
        }
        if self.keys.contains_key(name) {
            let message = format!("The keypair '{name}' already exists.");
            return Err(AwsError::new("InvalidKeyPair.Duplicate", message));
        }
        if self.keys.len() >= MAX {
            return Err(AwsError::new("KeyPairLimitExceeded", "There are as many key pairs as there may be"));
        }
        Ok(())
    }
    fn group(&mut self, input: &Data) -> Result<(String, &mut Group), AwsError> {
        let id = required(input, "GroupId")?;
        let unknown = || {
            let message = format!("The security group '{id}' does not exist");
            AwsError::new("InvalidGroup.NotFound", message)
        };
        Ok((id.to_owned(), self.groups.get_mut(id).ok_or_else(unknown)?))
    }
}

/// One of ed25519 opens the machines that are launched with it, where somebody boots them. One of RSA, which would take seconds to
/// make, has a key's form alone.
fn create_key_pair(context: &Context<'_>, input: &Data) -> Result<Data, Failure> {
    let name = required(input, "KeyName")?;
    let kind = input.get("KeyType").as_str().unwrap_or("rsa");
    if !matches!(kind, "rsa" | "ed25519") {
        return Err(invalid(kind, "KeyType").into());
    }
    let mut access = locked(&context.shared.access);
    access.room_for_key(name)?;
    let id = access.next_id("key");
    let (material, public) = if kind == "ed25519" {
        let (private, public) = new_key()?;
        (private, Some(public))
    } else {
        let material = STANDARD.encode(hmac(b"key-material", &id));
        (format!("-----BEGIN PRIVATE KEY-----\n{material}\n-----END PRIVATE KEY-----\n"), None)
    };
    let shown = map([
        ("keyPairId", id.as_str().into()),
        ("keyName", name.into()),
        ("keyFingerprint", fingerprint(&id).into()),
        ("keyMaterial", material.into()),
    ]);
    let tags = tags_of(input, "key-pair");
    access.keys.insert(name.to_owned(), KeyPair { id, kind: kind.to_owned(), public, tags });
    Ok(shown)
}

/// The private and the public half of a new key, as OpenSSH writes them.
fn new_key() -> Result<(String, String), AwsError> {
    let mut seed = [0; 32];
    let internal = || AwsError::new("InternalError", "No key could be made");
    getrandom::fill(&mut seed).map_err(|_| internal())?;
    let key = PrivateKey::from(Ed25519Keypair::from_seed(&seed));
    let private = key.to_openssh(LineEnding::LF).map_err(|_| internal())?;
    let public = key.public_key().to_openssh().map_err(|_| internal())?;
    Ok((private.as_str().to_owned(), public))
}

fn import_key_pair(context: &Context<'_>, input: &Data) -> Result<Data, Failure> {
    let (name, public) = (required(input, "KeyName")?, required(input, "PublicKeyMaterial")?);
    let text = STANDARD.decode(public).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let kind = match text.as_deref().and_then(|text| text.split_whitespace().next()) {
        Some("ssh-rsa") => "rsa",
        Some("ssh-ed25519") => "ed25519",
        _ => {
            return Err(
                AwsError::new("InvalidKey.Format", "Key is not in valid OpenSSH public key format").into()
            );
        }
    };
    let mut access = locked(&context.shared.access);
    access.room_for_key(name)?;
    let id = access.next_id("key");
    let shown = map([
        ("keyPairId", id.as_str().into()),
        ("keyName", name.into()),
        ("keyFingerprint", fingerprint(&id).into()),
    ]);
    let tags = tags_of(input, "key-pair");
    access.keys.insert(name.to_owned(), KeyPair { id, kind: kind.to_owned(), public: text, tags });
    Ok(shown)
}

fn fingerprint(id: &str) -> String {
    let bytes = hmac(b"fingerprint", id);
    let pairs: Vec<String> = bytes.iter().take(20).map(|byte| format!("{byte:02x}")).collect();
    pairs.join(":")
}

fn describe_key_pairs(context: &Context<'_>, input: &Data) -> Result<Data, Failure> {
    let filters = Filters::read(input, &["key-name", "key-pair-id"], true)?;
    let names = input.get("KeyName").texts();
    let access = locked(&context.shared.access);
    if let Some(name) = names.iter().find(|name| !access.keys.contains_key(**name)) {
        let message = format!("The key pair '{name}' does not exist");
        return Err(AwsError::new("InvalidKeyPair.NotFound", message).into());
    }
    let shown = access
        .keys
        .iter()
        .filter(|(name, _)| names.is_empty() || names.contains(&name.as_str()))
        .filter(|(name, key)| {
            filters.pass(&key.tags, |filter| {
                Some(if filter == "key-name" { (*name).clone() } else { key.id.clone() })
            })
        })
        .map(|(name, key)| {
            map([
                ("keyPairId", key.id.as_str().into()),
                ("keyName", name.as_str().into()),
                ("keyType", key.kind.as_str().into()),
                ("keyFingerprint", fingerprint(&key.id).into()),
                ("tagSet", tag_set(&key.tags)),
            ])
        });
    Ok(map([("keySet", Data::list(shown))]))
}

/// As EC2 has it: what is not there is deleted, too.
fn delete_key_pair(context: &Context<'_>, input: &Data) -> Result<Data, Failure> {
    let mut access = locked(&context.shared.access);
    match (input.get("KeyName").as_str(), input.get("KeyPairId").as_str()) {
        (Some(name), _) => drop(access.keys.remove(name)),
        (None, Some(id)) => access.keys.retain(|_, key| key.id != id),
        (None, None) => return Err(missing("KeyName").into()),
    }
    Ok(map([("return", true.into())]))
}

fn create_security_group(context: &Context<'_>, input: &Data) -> Result<Data, Failure> {
    let (name, description) = (required(input, "GroupName")?, required(input, "GroupDescription")?);
    // Some clients send it empty for the default one.
    let vpc = input.get("VpcId").as_str().filter(|vpc| !vpc.is_empty()).unwrap_or(VPC);
    if vpc != VPC {
        let message = format!("The vpc ID '{vpc}' does not exist");
        return Err(AwsError::new("InvalidVpcID.NotFound", message).into());
    }
    if name.is_empty() || name.len() > 255 || name.starts_with("sg-") {
        return Err(invalid(name, "GroupName").into());
    }
    let mut access = locked(&context.shared.access);
    if access.groups.values().any(|group| group.name == name) {
        let message = format!("The security group '{name}' already exists for VPC '{VPC}'");
        return Err(AwsError::new("InvalidGroup.Duplicate", message).into());
    }
    if access.groups.len() >= MAX {
        return Err(
            AwsError::new("SecurityGroupLimitExceeded", "There are as many groups as there may be").into()
        );
    }
    let everywhere = map([
        ("IpProtocol", "-1".into()),
        ("IpRanges", Data::List(vec![map([("CidrIp", "0.0.0.0/0".into())])])),
    ]);
    let group = Group {
        name: name.to_owned(),
        description: description.to_owned(),
        ingress: Vec::new(),
        egress: vec![everywhere],
        tags: tags_of(input, "security-group"),
    };
    let id = access.next_id("sg");
    access.groups.insert(id.clone(), group);
    Ok(map([("return", true.into()), ("groupId", id.into())]))
}

fn describe_security_groups(context: &Context<'_>, input: &Data) -> Result<Data, Failure> {
    let filters = Filters::read(input, &["group-id", "group-name", "vpc-id", "description"], true)?;
    let ids = input.get("GroupId").texts();
    let account = context.world().spec().account.clone();
    let access = locked(&context.shared.access);
    if let Some(id) = ids.iter().find(|id| !access.groups.contains_key(**id)) {
        let message = format!("The security group '{id}' does not exist");
        return Err(AwsError::new("InvalidGroup.NotFound", message).into());
    }
    let found = access
        .groups
        .iter()
        .filter(|(id, _)| ids.is_empty() || ids.contains(&id.as_str()))
        .filter(|(id, group)| {
            filters.pass(&group.tags, |filter| {
                Some(match filter {
                    "group-id" => (*id).clone(),
                    "group-name" => group.name.clone(),
                    "vpc-id" => VPC.to_owned(),
                    _ => group.description.clone(),
                })
            })
        })
        .map(|(id, group)| {
            let shown = map([
                ("ownerId", account.as_str().into()),
                ("groupId", id.as_str().into()),
                ("groupName", group.name.as_str().into()),
                ("groupDescription", group.description.as_str().into()),
                ("ipPermissions", Data::list(group.ingress.iter().map(shown_rule))),
                ("ipPermissionsEgress", Data::list(group.egress.iter().map(shown_rule))),
                ("vpcId", VPC.into()),
                ("tagSet", tag_set(&group.tags)),
            ]);
            (id.clone(), shown)
        });
    let page = page(input, 5..=1000, found)?;
    Ok(map([("securityGroupInfo", Data::List(page.items)), ("nextToken", page.next)]))
}

fn shown_rule(rule: &Data) -> Data {
    let ranges = rule.get("IpRanges").items().iter().map(|range| {
        map([
            ("cidrIp", range.get("CidrIp").as_str().into()),
            ("description", range.get("Description").as_str().into()),
        ])
    });
    map([
        ("ipProtocol", rule.get("IpProtocol").as_str().into()),
        ("fromPort", rule.get("FromPort").as_i64().into()),
        ("toPort", rule.get("ToPort").as_i64().into()),
        ("groups", Data::List(vec![])),
        ("ipRanges", Data::list(ranges)),
    ])
}

/// A group stays for as long as a machine that has not ended is in it.
fn delete_security_group(context: &Context<'_>, input: &Data) -> Result<Data, Failure> {
    let now = context.world().now();
    let in_use = locked(&context.shared.machines).groups(now);
    let mut access = locked(&context.shared.access);
    let (id, _) = access.group(input)?;
    if in_use.contains(&id) {
        let message = format!("resource {id} has a dependent object");
        return Err(AwsError::new("DependencyViolation", message).into());
    }
    access.groups.remove(&id);
    Ok(map([("return", true.into()), ("groupId", id.into())]))
}

fn authorize_ingress(context: &Context<'_>, input: &Data) -> Result<Data, Failure> {
    authorize(context, input, |group| &mut group.ingress)
}

fn authorize_egress(context: &Context<'_>, input: &Data) -> Result<Data, Failure> {
    authorize(context, input, |group| &mut group.egress)
}

fn authorize(
    context: &Context<'_>,
    input: &Data,
    side: fn(&mut Group) -> &mut Vec<Data>,
) -> Result<Data, Failure> {
    let rules = input.get("IpPermissions").items();
    if rules.is_empty() {
        return Err(missing("IpPermissions").into());
    }
    let mut access = locked(&context.shared.access);
    let (_, group) = access.group(input)?;
    let known = side(group);
    if let Some(rule) = rules.iter().find(|rule| known.contains(rule)) {
        let message = format!("the specified rule already exists: {:?}", rule.get("IpProtocol").as_str());
        return Err(AwsError::new("InvalidPermission.Duplicate", message).into());
    }
    if known.len() + rules.len() > MAX {
        return Err(AwsError::new("RulesPerSecurityGroupLimitExceeded", "Too many rules").into());
    }
    known.extend(rules.iter().cloned());
    Ok(map([("return", true.into())]))
}
