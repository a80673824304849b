//! What spot pools cost.

use crate::action::Action;
use crate::client::InRegion;
use crate::words;
use aws_sdk_ec2::types::{InstanceType as SdkInstanceType, SpotPrice};
use fleet::{ApiError, InstanceType, Offering, Pool, Timestamp, UsdPerHour};
use std::collections::BTreeMap;

/// Linux alone, because prices differ by product and muster's nodes run Linux. Both names: which one EC2 answers
/// by depends on the account's age; the price is one.
const PRODUCTS: [&str; 2] = ["Linux/UNIX", "Linux/UNIX (Amazon VPC)"];
/// Types in one request: as many as keep the request small; EC2 names no limit.
const TYPES_AT_ONCE: usize = 100;

/// The prices of now, a pool each: the history since now begins with what holds now.
pub(crate) async fn spot(region: &InRegion, types: &[InstanceType]) -> Result<Vec<Offering>, ApiError> {
    let now = words::datetime(region.clock.wall());
    let mut latest = BTreeMap::new();
    for types in types.chunks(TYPES_AT_ONCE) {
        let types: Vec<_> = types.iter().map(|name| SdkInstanceType::from(name.as_str())).collect();
        let send = |token| {
            let call = region.ec2.describe_spot_price_history().set_instance_types(Some(types.clone()));
            call.set_product_descriptions(Some(PRODUCTS.map(str::to_owned).to_vec()))
                .start_time(now)
                .max_results(1000)
                .set_next_token(token)
                .send()
        };
        let prices = region.pages(Action::DescribeSpotPriceHistory, usize::MAX, send, |page| {
            (page.spot_price_history.unwrap_or_default(), page.next_token)
        });
        for (pool, at, price) in prices.await?.iter().filter_map(translate) {
            let known = latest.entry(pool).or_insert((at, price));
            if at > known.0 {
                *known = (at, price);
            }
        }
    }
    let offering = |(pool, (_, price))| Offering { pool, price: Some(price) };
    Ok(latest.into_iter().map(offering).collect())
}

/// `None` for what names no pool or no price.
fn translate(price: &SpotPrice) -> Option<(Pool, Timestamp, UsdPerHour)> {
    let pool = Pool::spot(price.instance_type()?.as_str(), price.availability_zone()?);
    Some((pool, words::time(price.timestamp()), price.spot_price()?.parse().ok()?))
}
