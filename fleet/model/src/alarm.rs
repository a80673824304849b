//! Alarms of a metrics service.

use crate::Timestamp;
use serde::{Deserialize, Serialize};

/// What an alarm says of what it watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AlarmState {
    /// All is well.
    Ok,
    /// It is not.
    Alarm,
    /// Too little was measured to say.
    InsufficientData,
}

impl AlarmState {
    /// CloudWatch's word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::Alarm => "ALARM",
            Self::InsufficientData => "INSUFFICIENT_DATA",
        }
    }

    /// The state that CloudWatch's word means; `None` for a word that it does not have.
    pub fn of_word(word: &str) -> Option<Self> {
        [Self::Ok, Self::Alarm, Self::InsufficientData].into_iter().find(|state| state.word() == word)
    }
}

/// An alarm as its service shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlarmView {
    /// Its name, which is unique in an account and region.
    pub name: String,
    /// What it says.
    pub state: AlarmState,
    /// Since when it says so, where the service tells.
    pub since: Option<Timestamp>,
}
