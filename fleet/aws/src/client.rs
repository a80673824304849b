//! The connection, and the ports it answers.

use crate::AwsConfig;
use fleet::ports::{Answer, Change, Clock, Cloud, MetricQuery, Metrics, Series};
use fleet::{
    ApiError, Backend, ErrorClass, FleetRef, FleetView, Health, HistoryEvent, Instance, InstanceId,
    InstanceState, InstanceType, Offering, Region, Timestamp,
};
use std::sync::Arc;

/// AWS in one region. Clones share everything.
#[derive(Clone)]
pub struct Aws {
    inner: Arc<Inner>,
}

struct Inner {
    region: Region,
    config: AwsConfig,
    clock: Arc<dyn Clock>,
}

impl Aws {
    /// Prepares the connection; nothing is asked of AWS before the first call.
    pub async fn connect(config: AwsConfig, clock: Arc<dyn Clock>) -> Self {
        Self { inner: Arc::new(Inner { region: config.region.clone(), config, clock }) }
    }
    /// The same account in another region: shares connections, credentials and the regions' budgets.
    #[must_use]
    pub fn for_region(&self, region: &Region) -> Self {
        let inner = &self.inner;
        Self {
            inner: Arc::new(Inner {
                region: region.clone(),
                config: inner.config.clone(),
                clock: inner.clock.clone(),
            }),
        }
    }
    /// The region that this answers for.
    pub fn region(&self) -> &Region {
        &self.inner.region
    }
    fn not_yet<T: Send + 'static>(operation: &str) -> Answer<'static, T> {
        let error = ApiError::new(ErrorClass::Malformed, "ec2", operation, None, "not connected");
        Box::pin(std::future::ready(Err(error)))
    }
}

impl Cloud for Aws {
    fn describe_fleets<'a>(&'a self, _: &'a [Backend]) -> Answer<'a, Vec<FleetView>> {
        Self::not_yet("DescribeFleets")
    }
    fn describe_instances<'a>(&'a self, _: &'a [FleetRef]) -> Answer<'a, Vec<Instance>> {
        Self::not_yet("DescribeInstances")
    }
    fn fleet_instances<'a>(&'a self, _: &'a FleetRef) -> Answer<'a, Vec<(InstanceId, Health)>> {
        Self::not_yet("DescribeFleetInstances")
    }
    fn modify<'a>(&'a self, _: &'a FleetRef, _: Change) -> Answer<'a, ()> {
        Self::not_yet("ModifyFleet")
    }
    fn terminate<'a>(&'a self, _: &'a [InstanceId]) -> Answer<'a, Vec<(InstanceId, InstanceState)>> {
        Self::not_yet("TerminateInstances")
    }
    fn history<'a>(&'a self, _: &'a FleetRef, _: Timestamp) -> Answer<'a, Vec<HistoryEvent>> {
        Self::not_yet("DescribeFleetHistory")
    }
    fn scalable_targets<'a>(&'a self, _: &'a [FleetRef]) -> Answer<'a, Vec<FleetRef>> {
        Self::not_yet("DescribeScalableTargets")
    }
    fn spot_prices<'a>(&'a self, _: &'a [InstanceType]) -> Answer<'a, Vec<Offering>> {
        Self::not_yet("DescribeSpotPriceHistory")
    }
}

impl Metrics for Aws {
    fn read<'a>(&'a self, _: &'a [MetricQuery], _: Timestamp, _: Timestamp) -> Answer<'a, Vec<Series>> {
        Self::not_yet("GetMetricData")
    }
}
