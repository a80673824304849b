//! Parameter Store, as far as channels of images need it.

use crate::action::Action;
use crate::client::Aws;
use crate::governor::Toll;
use aws_sdk_ssm::types::ParameterType;
use fleet::{ApiError, ErrorClass};

/// A parameter as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// Its whole name.
    pub name: String,
    /// What it says.
    pub value: String,
    /// Counts its changes, from 1 on.
    pub version: i64,
}

impl Aws {
    /// A parameter by its name; `None` where there is none. Safe to repeat.
    pub async fn parameter(&self, name: &str) -> Result<Option<Parameter>, ApiError> {
        let region = self.in_region();
        let send = || region.ssm.get_parameter().name(name).send();
        match region.call(Action::GetParameter, Toll::None, send).await {
            Ok(answer) => Ok(answer.parameter.map(read)),
            Err(error) if error.class == ErrorClass::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// All parameters right beneath a path, in the order of their names. Safe to repeat. A call for each ten.
    pub async fn parameters(&self, path: &str) -> Result<Vec<Parameter>, ApiError> {
        self.by_path(path, false).await
    }

    /// All parameters beneath a path, however deep, in the order of their names. Safe to repeat. A call for each ten.
    pub async fn parameters_beneath(&self, path: &str) -> Result<Vec<Parameter>, ApiError> {
        self.by_path(path, true).await
    }

    async fn by_path(&self, path: &str, recursive: bool) -> Result<Vec<Parameter>, ApiError> {
        let region = self.in_region();
        let send = |token| {
            let call = region.ssm.get_parameters_by_path().path(path).recursive(recursive);
            call.max_results(10).set_next_token(token).send()
        };
        let found = region.pages(Action::GetParametersByPath, usize::MAX, send, |page| {
            (page.parameters.unwrap_or_default(), page.next_token)
        });
        let mut found: Vec<Parameter> = found.await?.into_iter().map(read).collect();
        found.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(found)
    }

    /// Makes a parameter that is not there yet; SSM lets one of any number do so. Of class `Conflict` where it is there,
    /// `Unclear` where it may have been made: the caller looks whose it is.
    pub async fn create_parameter(&self, name: &str, value: &str, about: &str) -> Result<(), ApiError> {
        self.put(name, value, about, false).await.map(drop)
    }

    /// Sets a parameter, whatever it was. `Unclear` where it may have been set. * returns: its new version.
    pub async fn set_parameter(&self, name: &str, value: &str, about: &str) -> Result<i64, ApiError> {
        self.put(name, value, about, true).await
    }

    async fn put(&self, name: &str, value: &str, about: &str, over: bool) -> Result<i64, ApiError> {
        let region = self.in_region();
        let send = || {
            let call = region.ssm.put_parameter().name(name).value(value).description(about);
            call.r#type(ParameterType::String).overwrite(over).send()
        };
        Ok(region.call(Action::PutParameter, Toll::None, send).await?.version)
    }

    /// Deletes a parameter. One that is gone is no failure, so it is safe to repeat.
    pub async fn delete_parameter(&self, name: &str) -> Result<(), ApiError> {
        let region = self.in_region();
        let send = || region.ssm.delete_parameter().name(name).send();
        match region.call(Action::DeleteParameter, Toll::None, send).await {
            Err(error) if error.class != ErrorClass::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

fn read(parameter: aws_sdk_ssm::types::Parameter) -> Parameter {
    Parameter {
        name: parameter.name.unwrap_or_default(),
        value: parameter.value.unwrap_or_default(),
        version: parameter.version,
    }
}
