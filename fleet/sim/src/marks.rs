//! What EC2 itself says about instances that are to go.

use crate::calls::Action;
use crate::instances::InstanceData;
use crate::world::World;
use fleet::{ApiError, Notice, NoticeKind, NoticeSource, Timestamp};

/// Where the spot request behind an instance stands, as its status code says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpotStatus {
    /// `fulfilled`
    Fulfilled,
    /// `marked-for-termination`, since.
    Marked(Timestamp),
    /// `instance-terminated-no-capacity`, since: AWS took it back.
    TakenBack(Timestamp),
    /// `instance-terminated-by-user`, since: somebody asked for it, its fleet perhaps.
    TerminatedByUser(Timestamp),
}

impl InstanceData {
    /// At a time that is not in the future; `None` before it existed. On demand there is no request, and this
    /// means nothing.
    pub(crate) fn spot_status_at(&self, at: Timestamp) -> Option<SpotStatus> {
        if self.created? > at {
            return None;
        }
        let mark = self.interruption.filter(|mark| mark.marked <= at);
        let ended = self.ended.filter(|ended| *ended <= at);
        Some(match (ended, mark) {
            (None, None) => SpotStatus::Fulfilled,
            (None, Some(mark)) => SpotStatus::Marked(mark.marked),
            // EC2 does not say what a fleet's own scale-in ends as: here as what others ask for.
            (Some(ended), Some(mark)) if ended >= mark.deadline && !mark.by_fleet => {
                SpotStatus::TakenBack(ended)
            }
            (Some(ended), _) => SpotStatus::TerminatedByUser(ended),
        })
    }
}

impl World {
    /// DescribeSpotInstanceRequests and DescribeInstanceStatus, as far as they speak of an end: requests that are
    /// marked or were taken back, then scheduled events that lie ahead, each in the order of the instances'
    /// requests.
    pub fn marks(&mut self, caller: &str) -> Result<Vec<Notice>, ApiError> {
        let interrupted =
            self.call(caller, Action::DESCRIBE_SPOT_INSTANCE_REQUESTS, |world| Ok(world.interrupted()))?;
        let scheduled = self.call(caller, Action::DESCRIBE_INSTANCE_STATUS, |world| Ok(world.scheduled()))?;
        Ok(interrupted.into_iter().chain(scheduled).collect())
    }

    /// EC2 does not show when it announced an event: it was given when it was looked at.
    fn scheduled(&self) -> Vec<Notice> {
        let shown = self.shown();
        let notice = |instance: &InstanceData| {
            let event = instance.scheduled.filter(|event| event.announced <= shown)?;
            Some(Notice {
                instance: instance.id.clone(),
                kind: NoticeKind::ScheduledEvent,
                source: NoticeSource::Ec2,
                at: self.now,
                deadline: Some(event.not_before),
            })
        };
        let alive = self.instances.values().filter(|instance| instance.is_alive());
        alive.filter_map(notice).collect()
    }

    fn interrupted(&self) -> Vec<Notice> {
        let shown = self.shown();
        let notice = |instance: &InstanceData| {
            let status = instance.spot_status_at(shown)?;
            let (at, deadline) = match status {
                SpotStatus::Marked(at) => (at, at + self.spec.interruptions.notice),
                SpotStatus::TakenBack(at) => (at, at),
                SpotStatus::Fulfilled | SpotStatus::TerminatedByUser(_) => return None,
            };
            Some(Notice {
                instance: instance.id.clone(),
                kind: NoticeKind::SpotInterruption,
                source: NoticeSource::Ec2,
                at,
                deadline: Some(deadline),
            })
        };
        self.instances.values().filter_map(notice).collect()
    }
}
