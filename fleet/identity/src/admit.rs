//! Whose document it is, now.

use crate::document::Document;
use fleet::{ErrorClass, InstanceId, InstanceState, Timestamp, Zone};
use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

/// How far `pendingTime` may be from the launch time that EC2 describes. Both are written within a second of each other;
/// an instance that was stopped and started again differs by more than any clock does.
const NEAR: Duration = Duration::from_secs(300);

/// Whom to believe. `Default` admits nobody: no account is allowed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// The accounts whose instances may speak: every account's documents are signed with the same key.
    pub accounts: BTreeSet<String>,
    /// Whether a node may speak from another address than its instance's private one, through a proxy or address
    /// translation. A document is no secret to programs on its instance, and with this not to anybody who can read it.
    pub any_address: bool,
}

/// What the newest describe shows of an instance of our fleets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described {
    /// The instance.
    pub id: InstanceId,
    /// Where it runs.
    pub zone: Zone,
    /// Whether it lives.
    pub state: InstanceState,
    /// When it was launched or last started.
    pub launched: Timestamp,
    /// Its primary private address.
    pub private_ip: Option<IpAddr>,
}

/// Why the holder of a signed document is not admitted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAdmitted {
    /// The instance belongs to an account that is not allowed.
    #[error("account {account} is not allowed")]
    Account {
        /// The document's account.
        account: String,
    },
    /// No describe has shown such an instance in our fleets; perhaps it is too young.
    #[error("no fleet of ours has shown this instance yet")]
    UnknownYet,
    /// The instance was seen, and not alive.
    #[error("the instance is {state:?}")]
    Gone {
        /// As what EC2 described it.
        state: InstanceState,
    },
    /// The document is of another region than the instance.
    #[error("the document is of {document}, the instance of {zone}")]
    Region {
        /// The document's.
        document: String,
        /// The zone that EC2 described.
        zone: String,
    },
    /// The document was made for an earlier or a later start of the instance.
    #[error("the document was made {by} the launch that EC2 describes")]
    Relaunched {
        /// By how much.
        by: SkewedBy,
    },
    /// The document's private address is not the one that EC2 describes, or the call does not come from it.
    #[error("the call comes from {peer}, the document is of {document:?}, the instance has {described:?}")]
    Address {
        /// Where the call comes from.
        peer: IpAddr,
        /// The document's address.
        document: Option<IpAddr>,
        /// EC2's.
        described: Option<IpAddr>,
    },
}

/// How far a document lies from a launch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SkewedBy {
    pending: Timestamp,
    launched: Timestamp,
}

impl fmt::Display for SkewedBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pending, launched } = *self;
        let (apart, side) = if pending < launched {
            (launched.since(pending), "before")
        } else {
            (pending.since(launched), "after")
        };
        write!(f, "{} s {side}", apart.as_secs())
    }
}

impl NotAdmitted {
    /// What to make of it: [`ErrorClass::NotFound`] may pass by itself, the others do not.
    pub const fn class(&self) -> ErrorClass {
        match self {
            Self::UnknownYet => ErrorClass::NotFound,
            Self::Account { .. }
            | Self::Gone { .. }
            | Self::Region { .. }
            | Self::Relaunched { .. }
            | Self::Address { .. } => ErrorClass::Denied,
        }
    }
}

impl Rules {
    /// Whether the document's account is allowed: all that can be said before its instance is looked for.
    pub fn allow(&self, document: &Document) -> Result<(), NotAdmitted> {
        if self.accounts.contains(&document.account) {
            Ok(())
        } else {
            Err(NotAdmitted::Account { account: document.account.clone() })
        }
    }

    /// Whether the caller is the instance of its document, and that one of ours and alive.
    ///
    /// * `document`: whose signature was checked.
    /// * `instance`: what the newest describe shows of it; `None`: nothing.
    /// * `peer`: where the call comes from.
    ///
    /// What ends a replay: of an instance that is gone, no describe shows it alive; of one that was stopped and started,
    /// its launch time; of one that lives, its address.
    pub fn admit(
        &self,
        document: &Document,
        instance: Option<&Described>,
        peer: IpAddr,
    ) -> Result<(), NotAdmitted> {
        self.allow(document)?;
        let Some(instance) = instance.filter(|instance| instance.id == document.instance) else {
            return Err(NotAdmitted::UnknownYet);
        };
        if !matches!(instance.state, InstanceState::Pending | InstanceState::Running) {
            return Err(NotAdmitted::Gone { state: instance.state });
        }
        if !instance.zone.as_str().starts_with(document.region.as_str()) {
            return Err(NotAdmitted::Region {
                document: document.region.to_string(),
                zone: instance.zone.to_string(),
            });
        }
        let (pending, launched) = (document.pending, instance.launched);
        if pending.since(launched) > NEAR || launched.since(pending) > NEAR {
            return Err(NotAdmitted::Relaunched { by: SkewedBy { pending, launched } });
        }
        let plain = |address: Option<IpAddr>| address.map(|address| address.to_canonical());
        let (document, described) = (plain(document.private_ip), plain(instance.private_ip));
        let peer = peer.to_canonical();
        if document != described || !(self.any_address || described == Some(peer)) {
            return Err(NotAdmitted::Address { peer, document, described });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 7));

    fn rules() -> Rules {
        Rules { accounts: BTreeSet::from(["123456789012".to_owned()]), any_address: false }
    }
    fn document() -> Document {
        Document {
            instance: "i-7".into(),
            account: "123456789012".into(),
            region: "eu-west-1".into(),
            image: None,
            instance_type: None,
            pending: Timestamp::from_secs(1000),
            private_ip: Some(PEER),
        }
    }
    fn instance() -> Described {
        Described {
            id: "i-7".into(),
            zone: "eu-west-1a".into(),
            state: InstanceState::Running,
            launched: Timestamp::from_secs(1001),
            private_ip: Some(PEER),
        }
    }

    #[test]
    fn a_living_instance_of_ours_that_speaks_from_its_address_is_admitted() {
        assert_eq!(rules().admit(&document(), Some(&instance()), PEER), Ok(()));
        let mapped = "::ffff:10.0.0.7".parse().expect("an address");
        assert_eq!(rules().admit(&document(), Some(&instance()), mapped), Ok(()));
    }

    #[test]
    fn whoever_is_not_that_instance_is_not_admitted() {
        let refused = |document: Document, instance: Option<Described>, peer: IpAddr| {
            rules().admit(&document, instance.as_ref(), peer).expect_err("it is refused")
        };
        let foreign = Document { account: "210987654321".into(), ..document() };
        let account = NotAdmitted::Account { account: "210987654321".into() };
        assert_eq!(refused(foreign.clone(), Some(instance()), PEER), account);
        assert!(Rules::default().admit(&document(), Some(&instance()), PEER).is_err());
        assert_eq!(refused(document(), None, PEER), NotAdmitted::UnknownYet);
        for state in [
            InstanceState::ShuttingDown,
            InstanceState::Terminated,
            InstanceState::Stopping,
            InstanceState::Stopped,
        ] {
            let gone = Described { state, ..instance() };
            assert_eq!(refused(document(), Some(gone), PEER), NotAdmitted::Gone { state });
        }
        let elsewhere = Document { region: "eu-west-2".into(), ..document() };
        assert!(matches!(refused(elsewhere, Some(instance()), PEER), NotAdmitted::Region { .. }));
        let again = Described { launched: Timestamp::from_secs(1301), ..instance() };
        let relaunched = refused(document(), Some(again), PEER);
        assert_eq!(
            relaunched.to_string(),
            "the document was made 301 s before the launch that EC2 describes"
        );
        let earlier = Document { pending: Timestamp::from_secs(2000), ..document() };
        assert!(matches!(refused(earlier, Some(instance()), PEER), NotAdmitted::Relaunched { .. }));
        let other = "10.0.0.8".parse().expect("an address");
        assert!(matches!(refused(document(), Some(instance()), other), NotAdmitted::Address { .. }));
        let moved = Described { private_ip: Some(other), ..instance() };
        assert!(matches!(refused(document(), Some(moved), other), NotAdmitted::Address { .. }));
    }

    #[test]
    fn any_address_lets_a_proxy_speak_but_not_with_another_s_document() {
        let rules = Rules { any_address: true, ..rules() };
        let proxy = "192.0.2.1".parse().expect("an address");
        assert_eq!(rules.admit(&document(), Some(&instance()), proxy), Ok(()));
        let moved = Described { private_ip: Some(proxy), ..instance() };
        assert!(matches!(rules.admit(&document(), Some(&moved), proxy), Err(NotAdmitted::Address { .. })));
    }

    #[test]
    fn only_an_instance_that_may_be_too_young_is_worth_another_try() {
        assert_eq!(NotAdmitted::UnknownYet.class(), ErrorClass::NotFound);
        assert_eq!(NotAdmitted::Gone { state: InstanceState::Stopped }.class(), ErrorClass::Denied);
    }
}
