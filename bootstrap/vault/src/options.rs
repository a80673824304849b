//! What is configured. Plain values: whoever reads the configuration fills them in.

use std::path::PathBuf;
use std::time::Duration;

/// All that a [`crate::Keeper`] has to know.
#[derive(Clone, Debug)]
pub struct VaultOptions {
    /// Where Vault is.
    pub server: Server,
    /// How the node logs in.
    pub method: Method,
    /// Where the token is left for others; nowhere without. One of an owner of its own is handed out, as what is rendered
    /// ([`crate::Stepped::rendered`]).
    pub token_file: Option<Destination>,
    /// Where what is held is left for an agent that is started again, on tmpfs, mode 0600: token, secrets, certificates.
    /// Without, each start is a new login, with new leases and new certificates, and reloads for them.
    pub state_file: Option<PathBuf>,
    /// What is rendered.
    pub templates: Vec<Template>,
    /// How often secrets without a lease (KV) are read again. 5 min by default.
    pub refresh: Duration,
}

impl VaultOptions {
    /// A login that leaves its token nowhere and renders nothing yet.
    pub fn new(server: Server, method: Method) -> Self {
        Self {
            server,
            method,
            token_file: None,
            state_file: None,
            templates: Vec::new(),
            refresh: Duration::from_secs(300),
        }
    }
}

/// A Vault or an OpenBao.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// `https://vault.service.consul:8200`; a path in front of `/v1` is kept.
    pub address: String,
    /// Sent as `X-Vault-Namespace`.
    pub namespace: Option<String>,
    /// Certificates of those who may sign the server's, as PEM: then no others. The system's without.
    pub ca_file: Option<PathBuf>,
    /// A client's certificate with its chain, as PEM; together with `key_file`.
    pub cert_file: Option<PathBuf>,
    /// The certificate's key, as PEM.
    pub key_file: Option<PathBuf>,
    /// The longest wait for a connection, TLS included. 3 s by default.
    pub connect_timeout: Duration,
    /// The longest that one call may take, from the connection to the answer's last byte. 10 s by default.
    pub timeout: Duration,
}

impl Server {
    /// A server with the system's trusted certificates.
    pub fn new(address: impl Into<String>) -> Self {
        Self {
            address: address.into(),
            namespace: None,
            ca_file: None,
            cert_file: None,
            key_file: None,
            connect_timeout: Duration::from_secs(3),
            timeout: Duration::from_secs(10),
        }
    }
}

/// How the node logs in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Method {
    /// AWS IAM: a question to STS that the instance's role has signed. Vault alone; OpenBao has no such method.
    Aws {
        /// Where the method is mounted beneath `auth/`; usually `aws`.
        mount: String,
        /// The role in Vault.
        role: String,
    },
    /// AppRole.
    AppRole {
        /// Where the method is mounted beneath `auth/`; usually `approle`.
        mount: String,
        /// The file with the role's id.
        role_id: PathBuf,
        /// What proves it.
        secret_id: SecretId,
    },
    /// A JSON Web Token that somebody else has signed.
    Jwt {
        /// Where the method is mounted beneath `auth/`; usually `jwt`.
        mount: String,
        /// The role in Vault.
        role: String,
        /// The file with the token, read anew for each login.
        file: PathBuf,
    },
}

/// The secret id of an AppRole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretId {
    /// In a file, read anew for each login.
    Plain {
        /// The file.
        file: PathBuf,
    },
    /// A wrapping token in a file: good for one look at the secret id, so that nobody else can have had one.
    Wrapped {
        /// The file.
        file: PathBuf,
        /// What has to have made the token, such as `auth/approle/role/node/secret-id`: checked before it is used.
        creation_path: String,
        /// Where the secret id is kept once it was unwrapped, so that the agent can log in again after it was
        /// restarted; on tmpfs, mode 0600. Without, it is in memory alone.
        keep: Option<PathBuf>,
    },
}

/// Where a file comes to lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    /// Its path. The directory has to be there.
    pub path: PathBuf,
    /// Its permissions, at most 0o777.
    pub mode: u32,
    /// Whose it is: a user's name or number. The agent's own user without.
    pub owner: Option<String>,
    /// A group's name or number. The agent's own group without.
    pub group: Option<String>,
    /// Whether only memory will do (tmpfs or ramfs), so that it is on no disk, in no image and in no snapshot.
    pub require_tmpfs: bool,
}

impl Destination {
    /// A file of the agent's user alone, in memory alone.
    pub fn private(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), mode: 0o600, owner: None, group: None, require_tmpfs: true }
    }

    /// Whether it is of an owner that is named: the agent's user may not be allowed to write it.
    pub const fn is_of_another(&self) -> bool {
        self.owner.is_some()
    }
}

/// A file that is made of secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    /// The template's file.
    pub source: PathBuf,
    /// What it becomes.
    pub destination: Destination,
    /// The units that are to be reloaded when its contents have changed.
    pub reload: Vec<String>,
    /// Whether it is removed when the agent ends with its node. For what is worthless once the token is revoked.
    pub remove_at_stop: bool,
}
