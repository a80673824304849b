//! What a diversified spot fleet *is*: the model that every other crate speaks, and the ports through which
//! the world is reached.
//!
//! Pure: no I/O, no clock, no environment, no AWS types. Adapters (`fleet-aws`, `fleet-sim`) translate their
//! own spelling into these types at their edge and nowhere else.

mod alarm;
mod error;
mod ids;
mod image;
mod instance;
mod node;
mod notice;
mod pool;
pub mod ports;
mod sample;
pub mod seconds;
mod shared;
mod units;
mod view;
pub mod wire;

pub use alarm::{AlarmState, AlarmView};
pub use error::{ApiError, ErrorClass, chain};
pub use ids::{FleetId, FleetName, ImageId, InstanceId, InstanceType, MessageId, NodeId, Region, Zone};
pub use image::ImageView;
pub use instance::{EndedBy, Health, Instance, InstanceState};
pub use node::{NodeView, Resources, Work, WorkKind};
pub use notice::{News, Notice, NoticeKind, NoticeSource};
pub use pool::{Family, Market, Offering, Pool, vcpus_by_size};
pub use sample::{Sample, Saturation, Source};
pub use shared::Shared;
pub use units::{
    CapacityUnits, DurationText, ParseUnitError, Power, Timestamp, UsdPerHour, Utilization, Weight,
    parse_duration,
};
pub use view::{
    Activity, AllocationStrategy, Backend, ExcessCapacity, FleetKind, FleetRef, FleetSelector, FleetState,
    FleetView, HistoryEvent, HistoryKind, LaunchTemplate, Override,
};
