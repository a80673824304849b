//! One module a command: its arguments with their help, and what it does.

pub mod backtest;
pub mod check;
pub mod cloud;
pub mod decide;
pub mod explain;
pub mod explain_policy;
pub mod generate;
pub mod listen;
pub mod oracle;
pub mod orders;
pub mod plan;
pub mod replay;
pub mod rollout;
pub mod run;
pub mod status;
pub mod tune;
