//! `vault`: the token, and the secrets.

use super::{MINUTE, Server};
use std::time::Duration;

/// When the token is revoked, and with it whatever was leased by it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Revoke {
    /// When the instance shuts down: an agent that is restarted takes nothing from those that use its secrets.
    #[default]
    Shutdown,
    /// Whenever the agent ends.
    Stop,
    /// Never: it lapses by itself.
    Never,
}

impl Revoke {
    /// Its name in configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Shutdown => "shutdown",
            Self::Stop => "stop",
            Self::Never => "never",
        }
    }
}

/// `vault`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VaultSettings {
    /// Vault or OpenBao; its token is had by a login.
    pub server: Server,
    /// The namespace.
    pub namespace: Option<String>,
    /// A client's certificate.
    pub cert_file: Option<String>,
    /// Its key.
    pub key_file: Option<String>,
    /// Where the token is left for others of the agent's user.
    pub token_file: Option<String>,
    /// The `file` of `host` that the token is left in for anybody else, by root.
    pub file: Option<String>,
    /// How often secrets without a lease are read again.
    pub refresh: Duration,
    /// When the token is revoked.
    pub revoke: Revoke,
    /// Login by AWS IAM.
    pub aws: Option<VaultAws>,
    /// Login by AppRole.
    pub approle: Option<VaultAppRole>,
    /// Login by JWT.
    pub jwt: Option<VaultJwt>,
    /// Files that are made of secrets.
    pub templates: Vec<TemplateSettings>,
}

impl Default for VaultSettings {
    fn default() -> Self {
        Self {
            server: Server::default(),
            namespace: None,
            cert_file: None,
            key_file: None,
            token_file: None,
            file: None,
            refresh: 5 * MINUTE,
            revoke: Revoke::default(),
            aws: None,
            approle: None,
            jwt: None,
            templates: Vec::new(),
        }
    }
}

/// `aws`, in `vault`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VaultAws {
    /// Where the method is mounted.
    pub mount: String,
    /// The role in Vault.
    pub role: String,
    /// What Vault has as `iam_server_id_header_value`.
    pub server_id: Option<String>,
    /// The region that is signed for: that of the STS which Vault asks; `None`: the global one.
    pub region: Option<String>,
    /// The address that is signed for, where it is not that region's.
    pub sts_endpoint: Option<String>,
}

impl Default for VaultAws {
    fn default() -> Self {
        Self {
            mount: "aws".to_owned(),
            role: String::new(),
            server_id: None,
            region: None,
            sts_endpoint: None,
        }
    }
}

/// `approle`, in `vault`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VaultAppRole {
    /// Where the method is mounted.
    pub mount: String,
    /// The file with the role's id.
    pub role_id_file: String,
    /// The file with the secret id, or with a token that it is wrapped in.
    pub secret_id_file: String,
    /// What has to have made the wrapping token; `None`: it is no wrapping token.
    pub creation_path: Option<String>,
    /// Where an unwrapped secret id is kept for another login.
    pub keep_file: Option<String>,
}

impl Default for VaultAppRole {
    fn default() -> Self {
        Self {
            mount: "approle".to_owned(),
            role_id_file: String::new(),
            secret_id_file: String::new(),
            creation_path: None,
            keep_file: None,
        }
    }
}

/// `jwt`, in `vault`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VaultJwt {
    /// Where the method is mounted.
    pub mount: String,
    /// The role in Vault.
    pub role: String,
    /// The file with the token.
    pub file: String,
}

impl Default for VaultJwt {
    fn default() -> Self {
        Self { mount: "jwt".to_owned(), role: String::new(), file: String::new() }
    }
}

/// `template "NAME"`, in `vault`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TemplateSettings {
    /// Its name, for messages.
    pub name: String,
    /// The template's file.
    pub source: String,
    /// Where it is rendered to, for the agent's own user.
    pub path: Option<String>,
    /// The `host` block's `file` that it is rendered to, for anybody else.
    pub file: Option<String>,
    /// The mode of `path`, in octal digits.
    pub mode: String,
    /// The units that are reloaded when it has changed.
    pub reload: Vec<String>,
    /// Whether it may be on a disk.
    pub on_disk: bool,
    /// Whether it is removed when the token is revoked.
    pub remove_at_stop: bool,
}

impl TemplateSettings {
    /// A file of the agent's own, in memory.
    pub fn named(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            source: String::new(),
            path: None,
            file: None,
            mode: "0600".to_owned(),
            reload: Vec::new(),
            on_disk: false,
            remove_at_stop: false,
        }
    }
    /// Its mode as a number; `None` where that is none.
    pub fn bits(&self) -> Option<u32> {
        u32::from_str_radix(&self.mode, 8).ok().filter(|mode| *mode <= 0o777)
    }
}
