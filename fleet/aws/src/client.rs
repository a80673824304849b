//! The connection, and the ports it answers.

use crate::action::Action;
use crate::config::{AwsConfig, Credentials};
use crate::errors;
use crate::governor::{Governor, Toll};
use crate::launch::Known;
use crate::queue::AwsQueue;
use crate::transport::Transport;
use crate::whole::WholeXml;
use crate::{
    alarms, cloudwatch, ec2_fleet, history, images, instances, marks, prices, relaunch, scalable, spot_fleet,
};
use aws_config::{BehaviorVersion, SdkConfig};
use aws_sdk_applicationautoscaling as autoscaling;
use aws_sdk_cloudwatch as cloudwatch_sdk;
use aws_sdk_ec2 as ec2;
use aws_sdk_sqs as sqs;
use aws_sdk_ssm as ssm;
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_runtime_api::client::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use aws_smithy_types::retry::RetryConfig;
use aws_smithy_types::timeout::TimeoutConfig;
use fleet::ports::{Answer, Change, Clock, Cloud, MetricQuery, Metrics, Series};
use fleet::{
    AlarmView, ApiError, Backend, ErrorClass, FleetRef, FleetView, Health, HistoryEvent, ImageId, ImageView,
    Instance, InstanceId, InstanceState, InstanceType, Notice, Offering, Region, Timestamp,
};
use std::collections::BTreeMap;
use std::error::Error;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Pages of one listing before it is given up: a service that pages without end must not hold us forever. With
/// 1000 items a page this is a hundred times a region's quota of fleets.
const MAX_PAGES: u32 = 100;

/// AWS in one region, behind [`Cloud`] and [`Metrics`]. Clones share everything.
#[derive(Clone)]
pub struct Aws {
    account: Arc<Account>,
    region: Arc<InRegion>,
}

/// What the regions share.
struct Account {
    config: AwsConfig,
    sdk: SdkConfig,
    clock: Arc<dyn Clock>,
    regions: Mutex<BTreeMap<Region, Arc<InRegion>>>,
}

/// One region: its clients, its budget, and what was learned of it.
pub(crate) struct InRegion {
    name: Region,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) ec2: ec2::Client,
    pub(crate) cloudwatch: cloudwatch_sdk::Client,
    pub(crate) autoscaling: autoscaling::Client,
    pub(crate) sqs: sqs::Client,
    pub(crate) ssm: ssm::Client,
    pub(crate) known: Mutex<Known>,
    governor: Governor,
}

impl Aws {
    /// Prepares the connection. Nothing is asked of AWS before the first call; the environment and the profile
    /// files are read now.
    pub async fn connect(config: AwsConfig, clock: Arc<dyn Clock>) -> Self {
        let sdk = sdk_config(&config).await;
        let region = config.region.clone();
        let account = Arc::new(Account { config, sdk, clock, regions: Mutex::default() });
        Self { region: account.region(&region), account }
    }
    /// The same account in another region: shares connections and credentials, and the region's budget with
    /// whoever else asked for this region.
    #[must_use]
    pub fn for_region(&self, region: &Region) -> Self {
        Self { region: self.account.region(region), account: Arc::clone(&self.account) }
    }
    /// A queue of this region, by its URL. Nothing is asked of SQS before the first call.
    pub fn queue(&self, url: &str) -> AwsQueue {
        AwsQueue::new(Arc::clone(&self.region), url)
    }
    pub(crate) fn in_region(&self) -> &InRegion {
        &self.region
    }
    /// The region that this answers for.
    pub fn region(&self) -> &Region {
        &self.region.name
    }
}

/// The SDK's settings. Its own retries are off, for there is one retry policy, ours; the search for credentials
/// keeps them, because it happens inside the first attempt.
async fn sdk_config(config: &AwsConfig) -> SdkConfig {
    let http = SharedHttpClient::new(Transport::new(config.endpoints.sts()));
    let mut loader = aws_config::defaults(BehaviorVersion::v2026_01_12())
        .region(aws_types::region::Region::new(config.region.as_str().to_owned()))
        .http_client(http)
        .timeout_config(TimeoutConfig::builder().connect_timeout(config.timeouts.connect).build())
        // Attempts are bounded as a whole: a body that stalls runs into that bound.
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
    if let Some(name) = app_name(&config.app_name) {
        loader = loader.app_name(name);
    }
    if let Credentials::Static { access_key_id, secret_access_key } = &config.credentials {
        loader = loader.credentials_provider(aws_credential_types::Credentials::new(
            access_key_id,
            secret_access_key.expose(),
            None,
            None,
            "muster",
        ));
    }
    loader.load().await.into_builder().retry_config(RetryConfig::disabled()).build()
}

fn app_name(name: &str) -> Option<aws_types::app_name::AppName> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    let name: String = name.chars().map(|c| if allowed(c) { c } else { '-' }).take(50).collect();
    aws_types::app_name::AppName::new(name).ok()
}

impl Account {
    fn region(&self, name: &Region) -> Arc<InRegion> {
        // A panic elsewhere leaves nothing half done in here.
        let mut regions = self.regions.lock().unwrap_or_else(PoisonError::into_inner);
        let region = regions.entry(name.clone()).or_insert_with(|| Arc::new(InRegion::new(name, self)));
        Arc::clone(region)
    }
}

impl InRegion {
    fn new(name: &Region, account: &Account) -> Self {
        let region = aws_types::region::Region::new(name.as_str().to_owned());
        let sdk = account.sdk.clone().into_builder().region(region).build();
        let endpoints = &account.config.endpoints;
        let mut ec2_config = ec2::config::Builder::from(&sdk).interceptor(WholeXml);
        if let Some(url) = endpoints.ec2() {
            ec2_config = ec2_config.endpoint_url(url);
        }
        let mut cloudwatch_config = cloudwatch_sdk::config::Builder::from(&sdk);
        if let Some(url) = endpoints.cloudwatch() {
            cloudwatch_config = cloudwatch_config.endpoint_url(url);
        }
        let mut autoscaling_config = autoscaling::config::Builder::from(&sdk);
        if let Some(url) = endpoints.application_autoscaling() {
            autoscaling_config = autoscaling_config.endpoint_url(url);
        }
        let mut sqs_config = sqs::config::Builder::from(&sdk);
        if let Some(url) = endpoints.sqs() {
            sqs_config = sqs_config.endpoint_url(url);
        }
        let mut ssm_config = ssm::config::Builder::from(&sdk);
        if let Some(url) = endpoints.ssm() {
            ssm_config = ssm_config.endpoint_url(url);
        }
        Self {
            name: name.clone(),
            clock: Arc::clone(&account.clock),
            ec2: ec2::Client::from_conf(ec2_config.build()),
            cloudwatch: cloudwatch_sdk::Client::from_conf(cloudwatch_config.build()),
            autoscaling: autoscaling::Client::from_conf(autoscaling_config.build()),
            sqs: sqs::Client::from_conf(sqs_config.build()),
            ssm: ssm::Client::from_conf(ssm_config.build()),
            known: Mutex::default(),
            governor: Governor::new(&account.config, name, Arc::clone(&account.clock)),
        }
    }

    /// One call, within the budget, with its retries and deadline.
    pub(crate) async fn call<T, E, F, Sent>(&self, action: Action, toll: Toll, send: F) -> Result<T, ApiError>
    where
        F: Fn() -> Sent,
        Sent: Future<Output = Result<T, SdkError<E, HttpResponse>>>,
        E: ProvideErrorMetadata + Error + 'static,
    {
        self.call_longer(action, toll, Duration::ZERO, send).await
    }

    /// One call that the service answers when it has something to say, after `wait` at the latest: each attempt
    /// and the whole may take that much longer.
    pub(crate) async fn call_that_waits<T, E, F, Sent>(
        &self,
        action: Action,
        wait: Duration,
        send: F,
    ) -> Result<T, ApiError>
    where
        F: Fn() -> Sent,
        Sent: Future<Output = Result<T, SdkError<E, HttpResponse>>>,
        E: ProvideErrorMetadata + Error + 'static,
    {
        self.call_longer(action, Toll::None, wait, send).await
    }

    async fn call_longer<T, E, F, Sent>(
        &self,
        action: Action,
        toll: Toll,
        wait: Duration,
        send: F,
    ) -> Result<T, ApiError>
    where
        F: Fn() -> Sent,
        Sent: Future<Output = Result<T, SdkError<E, HttpResponse>>>,
        E: ProvideErrorMetadata + Error + 'static,
    {
        let attempt = || {
            let sent = send();
            async move { sent.await.map_err(|failure| errors::classify(action, &failure)) }
        };
        self.governor.call(action, toll, wait, attempt).await
    }

    /// A whole listing, page by page.
    ///
    /// * `send`: asks for the page that a token stands for, the first without one.
    /// * `split`: what a page holds, and the token of the next.
    /// * `enough`: stops early once so many items are there.
    pub(crate) async fn pages<T, Page, E, F, Sent>(
        &self,
        action: Action,
        enough: usize,
        send: F,
        split: impl Fn(Page) -> (Vec<T>, Option<String>),
    ) -> Result<Vec<T>, ApiError>
    where
        F: Fn(Option<String>) -> Sent,
        Sent: Future<Output = Result<Page, SdkError<E, HttpResponse>>>,
        E: ProvideErrorMetadata + Error + 'static,
    {
        let mut items = Vec::new();
        let mut token = None;
        for _ in 0..MAX_PAGES {
            let page = self.call(action, Toll::None, || send(token.clone())).await?;
            let (more, next) = split(page);
            items.extend(more);
            // Some services say "no more" with an empty token.
            let next = next.filter(|next| !next.is_empty());
            if next.is_none() || items.len() >= enough {
                return Ok(items);
            }
            if next == token {
                return Err(errors::local(
                    ErrorClass::Malformed,
                    action,
                    "answered the same page token twice",
                ));
            }
            token = next;
        }
        Err(errors::local(ErrorClass::Malformed, action, "pages without end"))
    }
}

impl Cloud for Aws {
    fn describe_fleets<'a>(&'a self, backends: &'a [Backend]) -> Answer<'a, Vec<FleetView>> {
        Box::pin(async move {
            // One after the other, so that a simulated cloud meets the calls in one order.
            let mut drafts = Vec::new();
            if backends.contains(&Backend::SpotFleet) {
                drafts.extend(spot_fleet::describe(&self.region).await?);
            }
            if backends.contains(&Backend::Ec2Fleet) {
                drafts.extend(ec2_fleet::describe(&self.region).await?);
            }
            Ok(crate::launch::complete(&self.region, drafts).await)
        })
    }
    fn describe_instances<'a>(&'a self, fleets: &'a [FleetRef]) -> Answer<'a, Vec<Instance>> {
        Box::pin(instances::describe(&self.region, fleets))
    }
    fn fleet_instances<'a>(&'a self, fleet: &'a FleetRef) -> Answer<'a, Vec<(InstanceId, Health)>> {
        match fleet.backend {
            Backend::SpotFleet => Box::pin(spot_fleet::instances(&self.region, &fleet.id)),
            Backend::Ec2Fleet => Box::pin(ec2_fleet::instances(&self.region, &fleet.id)),
        }
    }
    fn modify<'a>(&'a self, fleet: &'a FleetRef, change: Change) -> Answer<'a, ()> {
        match fleet.backend {
            Backend::SpotFleet => Box::pin(spot_fleet::modify(&self.region, &fleet.id, change)),
            Backend::Ec2Fleet => Box::pin(ec2_fleet::modify(&self.region, &fleet.id, change)),
        }
    }
    fn terminate<'a>(&'a self, instances: &'a [InstanceId]) -> Answer<'a, Vec<(InstanceId, InstanceState)>> {
        Box::pin(instances::terminate(&self.region, instances))
    }
    fn make_version<'a>(
        &'a self,
        template: &'a str,
        source: u64,
        image: &'a ImageId,
        token: &'a str,
    ) -> Answer<'a, u64> {
        Box::pin(relaunch::make_version(&self.region, template, source, image, token))
    }
    fn image_of<'a>(&'a self, template: &'a str, version: u64) -> Answer<'a, Option<ImageId>> {
        Box::pin(relaunch::image_of(&self.region, template, version))
    }
    fn look_up_images<'a>(&'a self, images: &'a [ImageId]) -> Answer<'a, Vec<ImageView>> {
        Box::pin(images::look_up(&self.region, images))
    }
    fn history<'a>(&'a self, fleet: &'a FleetRef, since: Timestamp) -> Answer<'a, Vec<HistoryEvent>> {
        Box::pin(history::read(&self.region, fleet, since))
    }
    fn scalable_targets<'a>(&'a self, fleets: &'a [FleetRef]) -> Answer<'a, Vec<FleetRef>> {
        Box::pin(scalable::targets(&self.region, fleets))
    }
    fn spot_prices<'a>(&'a self, types: &'a [InstanceType]) -> Answer<'a, Vec<Offering>> {
        Box::pin(prices::spot(&self.region, types))
    }
    fn marks(&self) -> Answer<'_, Vec<Notice>> {
        Box::pin(marks::read(&self.region))
    }
}

impl Metrics for Aws {
    fn read<'a>(
        &'a self,
        queries: &'a [MetricQuery],
        from: Timestamp,
        to: Timestamp,
    ) -> Answer<'a, Vec<Series>> {
        Box::pin(cloudwatch::read(&self.region, queries, from, to))
    }
    fn alarms<'a>(&'a self, names: &'a [String]) -> Answer<'a, Vec<AlarmView>> {
        Box::pin(alarms::read(&self.region, names))
    }
}
