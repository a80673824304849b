//! What a node is to be: from files, parameters and tags to the settings of every step.
//!
//! Pure: takes texts, never opens a file or asks anybody. [`load`] reads layers one over the other, files first, then
//! the parameters of SSM (each holds a fragment of HCL as a file of `conf.d` does), then the instance's tags: a later
//! layer's value stands over an earlier one's, and each value knows the place that it comes from. What is wrong is
//! told all at once, with file, line, column, value and what would be right.
//!
//! * [`Settings`]: what holds, and its defaults.
//! * [`Layer`]: a text, and who may have written it: a tag may say less than a file of the image.
//! * [`Loaded::values`]: every value with its [`Origin`], for `plan`.

mod load;
mod model;
mod reference;
mod rules;
mod tables;
mod tags;

pub use load::{Layer, Loaded, Origin, Value, begin, load};
pub use model::{
    AutoscalerSettings, AwxSettings, ConsulSettings, DirectoryRule, FileRule, HostSettings, IdentitySettings,
    KeySource, MonitoringSettings, NomadSettings, PackageRule, ParametersSettings, ReadySettings,
    RegistrySettings, Revoke, Server, Settings, StepSettings, TemplateSettings, TimeSettings, VaultAppRole,
    VaultAws, VaultJwt, VaultSettings, WatchSettings,
};
pub use muster_hcl::{File, Problem, Problems, Severity, duration_text};
pub use reference::{example_file, reference_markdown};
pub use tags::{PREFIX as TAG_PREFIX, TAGGED, tag_layer};
