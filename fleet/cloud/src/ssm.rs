//! SSM's Parameter Store.

use crate::service::Operation;
use crate::shared::{Context, Failure, locked};
use crate::sigv4::hmac;
use crate::wire::{AwsError, Data, map};
use fleet::Timestamp;
use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;

pub(crate) const OPERATIONS: &[Operation] = &[
    Operation::by_gate("GetParameter", get_parameter),
    Operation::by_gate("GetParameters", get_parameters),
    Operation::by_gate("GetParametersByPath", get_parameters_by_path),
    Operation::by_gate("PutParameter", put_parameter),
    Operation::by_gate("DeleteParameter", delete_parameter),
    Operation::by_gate("GetParameterHistory", get_parameter_history),
    Operation::by_gate("LabelParameterVersion", label_parameter_version),
];

/// The largest value of a standard parameter, in bytes.
const MAX_VALUE: usize = 4096;
/// The most names of a GetParameters and the most parameters of a page.
const MAX_AT_ONCE: usize = 10;

/// The most parameters of an account.
const MAX_PARAMETERS: usize = 10_000;
/// The most versions of a parameter; the oldest goes first.
const MAX_VERSIONS: usize = 100;

/// The most versions of a page of a history.
const MAX_HISTORY: usize = 50;
/// The most labels of a version.
const MAX_LABELS: usize = 10;

/// All parameters.
#[derive(Debug, Default)]
pub(crate) struct Parameters {
    by_name: BTreeMap<String, History>,
}

/// The versions of a parameter, which are counted from 1 on.
#[derive(Debug, Default)]
struct History {
    /// How many of the oldest are gone.
    dropped: usize,
    kept: VecDeque<Version>,
    /// Which version each label is at.
    labels: BTreeMap<String, usize>,
}

impl History {
    /// The number of the newest version.
    fn newest(&self) -> usize {
        self.dropped + self.kept.len()
    }
    fn version(&self, number: usize) -> Option<&Version> {
        self.kept.get(number.checked_sub(self.dropped + 1)?)
    }
    /// Whether the oldest version would have to go and may not, for its label.
    fn is_full_of_labels(&self) -> bool {
        self.kept.len() >= MAX_VERSIONS && self.labels.values().any(|number| *number == self.dropped + 1)
    }
    fn put(&mut self, version: Version) {
        self.kept.push_back(version);
        if self.kept.len() > MAX_VERSIONS {
            self.kept.pop_front();
            self.dropped += 1;
            self.labels.retain(|_, number| *number > self.dropped);
        }
    }
}

#[derive(Clone, Debug)]
struct Version {
    kind: String,
    value: String,
    at: Timestamp,
}

impl Parameters {
    /// Finds `name`, `name:VERSION` or `name:LABEL`: the name, the version's number and the version.
    fn find<'a>(&'a self, selector: &'a str) -> Result<(&'a str, usize, &'a Version), AwsError> {
        let (name, number) =
            selector.split_once(':').map_or((selector, None), |(name, number)| (name, Some(number)));
        let versions = self.by_name.get(name).ok_or_else(|| AwsError::new("ParameterNotFound", ""))?;
        let number = match number {
            None => versions.newest(),
            Some(word) => match word.parse() {
                Ok(number) => number,
                Err(_) => versions.labels.get(word).copied().unwrap_or(0),
            },
        };
        let version = versions.version(number).ok_or_else(|| {
            let message = format!("Systems Manager could not find version {number} of {name}.");
            AwsError::new("ParameterVersionNotFound", message)
        })?;
        Ok((name, number, version))
    }
}

/// A parameter as the answers show it.
fn shown(
    context: &Context<'_>,
    selector: &str,
    name: &str,
    number: usize,
    version: &Version,
    decrypt: bool,
) -> Data {
    let (region, account) = {
        let world = context.world();
        (world.spec().region.clone(), world.spec().account.clone())
    };
    let value = if version.kind == "SecureString" && !decrypt {
        // What stands there instead of a cipher's text.
        hex::encode(hmac(b"SecureString", &version.value))
    } else {
        version.value.clone()
    };
    let slash = if name.starts_with('/') { "" } else { "/" };
    map([
        ("Name", name.into()),
        ("Type", version.kind.as_str().into()),
        ("Value", value.into()),
        ("Version", number.into()),
        ("Selector", selector.strip_prefix(name).filter(|rest| !rest.is_empty()).into()),
        ("LastModifiedDate", version.at.into()),
        ("ARN", format!("arn:aws:ssm:{region}:{account}:parameter{slash}{name}").into()),
        ("DataType", "text".into()),
    ])
}

fn required<'a>(input: &'a Data, name: &str) -> Result<&'a str, AwsError> {
    input.get(name).as_str().ok_or_else(|| {
        AwsError::new("ValidationException", format!("1 validation error detected: Value at '{name}' failed to satisfy constraint: Member must not be null"))
    })
}

fn decrypt(input: &Data) -> bool {
    input.get("WithDecryption").as_bool().unwrap_or(false)
}

fn get_parameter(context: &Context<'_>, input: &Data) -> Result<Data, Failure> {
    let selector = required(input, "Name")?;
    let parameters = locked(&context.shared.parameters);
    let (name, number, version) = parameters.find(selector)?;
    Ok(map([("Parameter", shown(context, selector, name, number, version, decrypt(input)))]))
}

fn get_parameters(context: &Context<'_>, input: &Data) -> Result<Data, Failure> {
    let names = input.get("Names").texts();
    if names.is_empty() || names.len() > MAX_AT_ONCE {
        return Err(AwsError::new("ValidationException", "Names must have 1 to 10 members").into());
    }
    let parameters = locked(&context.shared.parameters);
    let (mut found, mut invalid) = (Vec::new(), Vec::new());
    for selector in names {
        match parameters.find(selector) {
            Ok((name, number, version)) => {
                found.push(shown(context, selector, name, number, version, decrypt(input)));
            }
            Err(_) => invalid.push(selector),
        }
    }
    Ok(map([("Parameters", Data::List(found)), ("InvalidParameters", Data::list(invalid))]))
}

fn get_parameters_by_path(context: &Context<'_>, input: &Data) -> Result<Data, Failure> {
    let path = required(input, "Path")?;
    if !path.starts_with('/') {
        let message = "The parameter path must begin with a slash";
        return Err(AwsError::new("ValidationException", message).into());
    }
    let prefix = format!("{}/", path.trim_end_matches('/'));
    let recursive = input.get("Recursive").as_bool().unwrap_or(false);
    let limit = match input.get("MaxResults") {
        Data::Null => MAX_AT_ONCE,
        given => given
            .as_i64()
            .and_then(|limit| usize::try_from(limit).ok())
            .filter(|limit| (1..=MAX_AT_ONCE).contains(limit))
            .ok_or_else(|| AwsError::new("ValidationException", "MaxResults must be from 1 to 10"))?,
    };
    let parameters = locked(&context.shared.parameters);
    // The token is the last name of the page before.
    let after = input.get("NextToken").as_str();
    let from = after.map_or(Bound::Included(prefix.as_str()), Bound::Excluded);
    let mut matching = parameters
        .by_name
        .range::<str, _>((from, Bound::Unbounded))
        .take_while(|(name, _)| name.starts_with(&prefix))
        .filter(|(name, _)| recursive || !name[prefix.len()..].contains('/'));
    let page: Vec<_> = matching.by_ref().take(limit).collect();
    let next = page.last().filter(|_| matching.next().is_some()).map(|(name, _)| (*name).clone());
    let shown = page
        .into_iter()
        .filter_map(|(name, versions)| {
            Some(shown(context, name, name, versions.newest(), versions.kept.back()?, decrypt(input)))
        })
        .collect();
    Ok(map([("Parameters", Data::List(shown)), ("NextToken", next.into())]))
}

fn put_parameter(context: &Context<'_>, input: &Data) -> Result<Data, Failure> {
    let (name, value) = (required(input, "Name")?, required(input, "Value")?);
    let legal = |c: char| c.is_ascii_alphanumeric() || "/_.-".contains(c);
    if name.is_empty() || name.len() > 1011 || !name.chars().all(legal) {
        let message = "Parameter name: only a-zA-Z0-9_.- and / are allowed";
        return Err(AwsError::new("ValidationException", message).into());
    }
    if value.is_empty() || value.len() > MAX_VALUE {
        let message = "Standard tier parameters support a maximum parameter value of 4096 characters.";
        return Err(AwsError::new("ValidationException", message).into());
    }
    let now = context.world().now();
    let mut parameters = locked(&context.shared.parameters);
    if parameters.by_name.len() >= MAX_PARAMETERS && !parameters.by_name.contains_key(name) {
        let message = "The account has as many parameters as there may be";
        return Err(AwsError::new("ParameterLimitExceeded", message).into());
    }
    let versions = parameters.by_name.entry(name.to_owned()).or_default();
    // Whoever does not know that one is there is not to write over it.
    if !versions.kept.is_empty() && input.get("Overwrite").as_bool() != Some(true) {
        let message = "The parameter already exists. To overwrite this value, set the overwrite option in the request to true.";
        return Err(AwsError::new("ParameterAlreadyExists", message).into());
    }
    let kind = input
        .get("Type")
        .as_str()
        .or_else(|| versions.kept.back().map(|v| v.kind.as_str()))
        .unwrap_or("String");
    if versions.is_full_of_labels() {
        let message = format!(
            "You attempted to create a new version of {name} by calling the PutParameter API with the overwrite flag. \
             Version {}, the oldest version, can't be deleted because it has a label associated with it. Move the label \
             to another version of the parameter, and try again.",
            versions.dropped + 1
        );
        return Err(AwsError::new("ParameterMaxVersionLimitExceeded", message).into());
    }
    let version = Version { kind: kind.to_owned(), value: value.to_owned(), at: now };
    versions.put(version);
    Ok(map([("Version", versions.newest().into()), ("Tier", "Standard".into())]))
}

fn delete_parameter(context: &Context<'_>, input: &Data) -> Result<Data, Failure> {
    let name = required(input, "Name")?;
    match locked(&context.shared.parameters).by_name.remove(name) {
        Some(_) => Ok(map([])),
        None => Err(AwsError::new("ParameterNotFound", "").into()),
    }
}

/// Oldest first, as SSM has it.
fn get_parameter_history(context: &Context<'_>, input: &Data) -> Result<Data, Failure> {
    let name = required(input, "Name")?;
    let limit = match input.get("MaxResults") {
        Data::Null => MAX_HISTORY,
        given => given
            .as_i64()
            .and_then(|limit| usize::try_from(limit).ok())
            .filter(|limit| (1..=MAX_HISTORY).contains(limit))
            .ok_or_else(|| AwsError::new("ValidationException", "MaxResults must be from 1 to 50"))?,
    };
    // The token is the last number of the page before.
    let after: usize = match input.get("NextToken").as_str() {
        None => 0,
        Some(token) => {
            token.parse().map_err(|_| AwsError::new("InvalidNextToken", "The token is not valid."))?
        }
    };
    let parameters = locked(&context.shared.parameters);
    let history = parameters.by_name.get(name).ok_or_else(|| AwsError::new("ParameterNotFound", ""))?;
    let numbered =
        history.kept.iter().enumerate().map(|(place, version)| (history.dropped + place + 1, version));
    let mut left = numbered.filter(|(number, _)| *number > after);
    let page: Vec<_> = left.by_ref().take(limit).collect();
    let next = page.last().filter(|_| left.next().is_some()).map(|(number, _)| number.to_string());
    let shown = page
        .into_iter()
        .map(|(number, version)| {
            let mut shown = shown(context, name, name, number, version, decrypt(input));
            let labels =
                history.labels.iter().filter(|(_, at)| **at == number).map(|(label, _)| label.as_str());
            if let Data::Map(entries) = &mut shown {
                entries.push(("Labels".to_owned(), Data::list(labels)));
            }
            shown
        })
        .collect();
    Ok(map([("Parameters", Data::List(shown)), ("NextToken", next.into())]))
}

fn label_parameter_version(context: &Context<'_>, input: &Data) -> Result<Data, Failure> {
    let name = required(input, "Name")?;
    let labels = input.get("Labels").texts();
    let mut parameters = locked(&context.shared.parameters);
    let history = parameters.by_name.get_mut(name).ok_or_else(|| AwsError::new("ParameterNotFound", ""))?;
    let number = match input.get("ParameterVersion").as_i64() {
        None => history.newest(),
        Some(number) => usize::try_from(number).unwrap_or(0),
    };
    if history.version(number).is_none() {
        let message = format!("Systems Manager could not find version {number} of {name}.");
        return Err(AwsError::new("ParameterVersionNotFound", message).into());
    }
    let legal = |label: &&&str| {
        let first = label.chars().next().is_some_and(|c| c.is_ascii_digit());
        !first
            && (1..=100).contains(&label.len())
            && label.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
            && !label.starts_with("aws")
            && !label.starts_with("ssm")
    };
    let (good, wrong): (Vec<&str>, Vec<&str>) = labels.into_iter().partition(|label| legal(&label));
    let there = history.labels.values().filter(|at| **at == number).count();
    if there + good.len() > MAX_LABELS {
        let message = "A parameter version can have a maximum of ten labels.";
        return Err(AwsError::new("ParameterVersionLabelLimitExceeded", message).into());
    }
    // A label is at one version: it moves.
    history.labels.extend(good.into_iter().map(|label| (label.to_owned(), number)));
    Ok(map([("InvalidLabels", Data::list(wrong)), ("ParameterVersion", number.into())]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_versions_go_and_the_others_keep_their_numbers() {
        let mut history = History::default();
        for number in 1..=MAX_VERSIONS + 2 {
            history.put(Version { kind: "String".into(), value: number.to_string(), at: Timestamp::EPOCH });
        }
        let value = |number| history.version(number).map(|version| version.value.as_str());
        assert_eq!(history.newest(), 102);
        assert_eq!(
            (value(0), value(2), value(3), value(102), value(103)),
            (None, None, Some("3"), Some("102"), None)
        );
    }
}
