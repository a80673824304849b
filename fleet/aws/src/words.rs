//! AWS's words in ours.
//!
//! AWS spells the same thing differently between its two fleet services, its documents and its answers
//! (`noTermination`, `NoTermination`, `no-termination`), and adds words over the years. So: case, hyphens and
//! underscores do not count, and a word that we do not know becomes what is safe to assume.

use aws_sdk_ec2::types::Tag;
use aws_smithy_types::DateTime;
use fleet::{
    Activity, AllocationStrategy, EndedBy, ExcessCapacity, FleetKind, FleetState, Health, InstanceState,
    Timestamp,
};
use std::collections::BTreeMap;

/// The word without what AWS is inconsistent about.
pub(crate) fn plain(word: &str) -> String {
    word.chars().filter(|c| !matches!(c, '-' | '_' | ' ')).map(|c| c.to_ascii_lowercase()).collect()
}

fn plain_of(word: Option<&(impl AsRef<str> + ?Sized)>) -> Option<String> {
    word.map(|word| plain(word.as_ref()))
}

/// Unknown or missing: `Failed`, hands off.
pub(crate) fn fleet_state(word: Option<&(impl AsRef<str> + ?Sized)>) -> FleetState {
    match plain_of(word).as_deref() {
        Some("submitted") => FleetState::Submitted,
        Some("active") => FleetState::Active,
        Some("modifying") => FleetState::Modifying,
        Some(gone) if gone.starts_with("deleted") || gone.starts_with("cancelled") => FleetState::Deleted,
        _ => FleetState::Failed,
    }
}

/// Missing: `Maintain`, the default of both services. Unknown: `Request`, hands off.
pub(crate) fn fleet_kind(word: Option<&(impl AsRef<str> + ?Sized)>) -> FleetKind {
    match plain_of(word).as_deref() {
        None | Some("maintain") => FleetKind::Maintain,
        Some("instant") => FleetKind::Instant,
        Some(_) => FleetKind::Request,
    }
}

/// Unknown: nothing.
pub(crate) fn activity(word: Option<&(impl AsRef<str> + ?Sized)>) -> Option<Activity> {
    match plain_of(word)?.as_str() {
        "fulfilled" => Some(Activity::Fulfilled),
        "pendingfulfillment" => Some(Activity::PendingFulfillment),
        "pendingtermination" => Some(Activity::PendingTermination),
        "error" => Some(Activity::Error),
        _ => None,
    }
}

/// Unknown or missing: `Termination`, the default of both services.
pub(crate) fn excess(word: Option<&(impl AsRef<str> + ?Sized)>) -> ExcessCapacity {
    match plain_of(word).as_deref() {
        Some("notermination") => ExcessCapacity::NoTermination,
        _ => ExcessCapacity::Termination,
    }
}

/// Missing: `LowestPrice`, the default of both services. Unknown: nothing.
pub(crate) fn strategy(word: Option<&(impl AsRef<str> + ?Sized)>) -> Option<AllocationStrategy> {
    match plain_of(word).as_deref() {
        None | Some("lowestprice") => Some(AllocationStrategy::LowestPrice),
        Some("diversified") => Some(AllocationStrategy::Diversified),
        Some("capacityoptimized") => Some(AllocationStrategy::CapacityOptimized),
        Some("capacityoptimizedprioritized") => Some(AllocationStrategy::CapacityOptimizedPrioritized),
        Some("pricecapacityoptimized") => Some(AllocationStrategy::PriceCapacityOptimized),
        Some(_) => None,
    }
}

/// Unknown or missing: `Pending`, which neither serves nor is gone.
pub(crate) fn instance_state(word: Option<&(impl AsRef<str> + ?Sized)>) -> InstanceState {
    match plain_of(word).as_deref() {
        Some("running") => InstanceState::Running,
        Some("shuttingdown") => InstanceState::ShuttingDown,
        Some("terminated") => InstanceState::Terminated,
        Some("stopping") => InstanceState::Stopping,
        Some("stopped") => InstanceState::Stopped,
        _ => InstanceState::Pending,
    }
}

/// EC2's codes of a state's reason begin with whose doing it was: `Client.UserInitiatedShutdown`,
/// `Client.InstanceInitiatedShutdown`, `Server.SpotInstanceTermination`, `Server.InternalError`, … Unknown: AWS's.
/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_StateReason.html>
pub(crate) fn ended_by(code: &str) -> EndedBy {
    if code.starts_with("Client.") { EndedBy::Client } else { EndedBy::Aws }
}

/// Missing: `Healthy`, nobody has looked yet.
pub(crate) fn health(word: Option<&(impl AsRef<str> + ?Sized)>) -> Health {
    match plain_of(word).as_deref() {
        Some("unhealthy") => Health::Unhealthy,
        _ => Health::Healthy,
    }
}

/// Missing or out of range: 1970, older than anything.
pub(crate) fn time(time: Option<&DateTime>) -> Timestamp {
    let millis = time.and_then(|time| time.to_millis().ok());
    millis.map_or(Timestamp::EPOCH, Timestamp::from_millis)
}

/// A time for a request.
pub(crate) fn datetime(time: Timestamp) -> DateTime {
    DateTime::from_millis(time.millis())
}

/// A capacity of a request or an answer; AWS's are not negative.
pub(crate) fn capacity(count: Option<i32>) -> u32 {
    count.and_then(|count| u32::try_from(count).ok()).unwrap_or(0)
}

/// Tags without a key are dropped; without a value they have an empty one.
pub(crate) fn tags(tags: &[Tag]) -> BTreeMap<String, String> {
    let pairs =
        tags.iter().filter_map(|tag| Some((tag.key()?.to_owned(), tag.value().unwrap_or("").to_owned())));
    pairs.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_services_spellings_and_the_documents_mean_the_same() {
        for word in ["noTermination", "NoTermination", "no-termination", "NO_TERMINATION"] {
            assert_eq!(excess(Some(word)), ExcessCapacity::NoTermination, "{word}");
        }
        for word in ["default", "Default", "termination"] {
            assert_eq!(excess(Some(word)), ExcessCapacity::Termination, "{word}");
        }
        for word in ["priceCapacityOptimized", "price-capacity-optimized"] {
            assert_eq!(strategy(Some(word)), Some(AllocationStrategy::PriceCapacityOptimized), "{word}");
        }
        for word in ["cancelled_running", "cancelled_terminating", "deleted-running", "deleted_terminating"] {
            assert_eq!(fleet_state(Some(word)), FleetState::Deleted, "{word}");
        }
        assert_eq!(instance_state(Some("shutting-down")), InstanceState::ShuttingDown);
        assert_eq!(activity(Some("pending_fulfillment")), Some(Activity::PendingFulfillment));
    }

    #[test]
    fn a_word_of_next_year_means_hands_off() {
        let new = Some("quantum-entangled");
        assert_eq!(fleet_state(new), FleetState::Failed);
        assert_eq!(fleet_kind(new), FleetKind::Request);
        assert_eq!((strategy(new), activity(new)), (None, None));
        assert_eq!(excess(new), ExcessCapacity::Termination);
        assert_eq!(instance_state(new), InstanceState::Pending);
    }
}
