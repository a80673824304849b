//! AWS, as the instance's role: what the steps ask of it, by the crate that knows it.

use bootstrap_agent::imds::Imds;
use bootstrap_agent::node::{Aws, Later, Parameter};
use bootstrap_aws::{AwsError, AwsOptions, CallerIdentity, Credentials, Endpoints};
use bootstrap_config::VaultAws;
use bootstrap_core::Secret;
use bootstrap_vault::LoginRequest;
use fleet::{InstanceId, Timestamp};

/// AWS.
pub struct Role {
    /// Where the role's keys are had: of the endpoints the one that answers.
    imds: Imds,
    /// Where EC2 is, if not where AWS has it.
    ec2: Option<String>,
}

impl Role {
    /// The role of the instance with this metadata service.
    pub const fn new(imds: Imds, ec2: Option<String>) -> Self {
        Self { imds, ec2 }
    }

    fn client(&self, region: &str, ssm: Option<&str>) -> Result<bootstrap_aws::Aws, AwsError> {
        let endpoints =
            Endpoints { ssm: ssm.map(str::to_owned), ec2: self.ec2.clone(), ..Endpoints::default() };
        let credentials = Credentials::Role { metadata: self.imds.endpoint().to_owned() };
        bootstrap_aws::Aws::new(AwsOptions { endpoints, credentials, ..AwsOptions::new(region) })
    }
}

impl Aws for Role {
    fn parameters<'a>(
        &'a self,
        region: &'a str,
        endpoint: Option<&'a str>,
        path: &'a str,
    ) -> Later<'a, Vec<Parameter>> {
        Box::pin(async move {
            let found = self.client(region, endpoint)?.parameters(path).await?;
            let open = found.into_iter().filter(|parameter| !parameter.secure);
            let mut open: Vec<Parameter> = open
                .map(|found| Parameter { name: found.name, text: found.value.expose().to_owned() })
                .collect();
            open.sort_by(|a, b| a.name.cmp(&b.name));
            Ok(open)
        })
    }
    fn secret<'a>(&'a self, region: &'a str, endpoint: Option<&'a str>, name: &'a str) -> Later<'a, Secret> {
        Box::pin(async move { Ok(self.client(region, endpoint)?.parameter(name).await?.value) })
    }
    fn sign_login<'a>(
        &'a self,
        region: &'a str,
        whom: &'a VaultAws,
        at: Timestamp,
    ) -> Later<'a, LoginRequest> {
        Box::pin(async move {
            let identity = CallerIdentity {
                region: whom.region.clone(),
                endpoint: whom.sts_endpoint.clone(),
                server_id: whom.server_id.clone(),
            };
            let signed = self.client(region, None)?.sign_caller_identity(&identity, at).await?;
            let method = signed.method.to_owned();
            Ok(LoginRequest { method, url: signed.url, body: signed.body, headers: signed.headers })
        })
    }
    fn tag<'a>(
        &'a self,
        region: &'a str,
        instance: &'a InstanceId,
        key: &'a str,
        value: &'a str,
        at: Timestamp,
    ) -> Later<'a, ()> {
        Box::pin(
            async move { Ok(self.client(region, None)?.tag_self(instance.as_str(), key, value, at).await?) },
        )
    }
}
