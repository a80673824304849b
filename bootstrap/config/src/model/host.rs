//! `host`: what may be done as root.

/// `host`: what may be done as root on the agent's behalf, and no more.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostSettings {
    /// The units that may be started, stopped, restarted, reloaded.
    pub units: Vec<String>,
    /// Whether the instance may be powered off: what `terminate` needs.
    pub power_off: bool,
    /// The files that may be written.
    pub files: Vec<FileRule>,
    /// The packages that may be installed.
    pub packages: Vec<PackageRule>,
    /// The directories that may be emptied.
    pub directories: Vec<DirectoryRule>,
}

/// `file "NAME"`, in `host`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileRule {
    /// What the agent calls it.
    pub name: String,
    /// Where it is.
    pub path: String,
    /// Its owner: a user's name or number.
    pub owner: String,
    /// Its group: a name or number.
    pub group: String,
    /// Its mode, in octal digits.
    pub mode: String,
}

impl FileRule {
    /// A file of root's own.
    pub fn named(name: &str) -> Self {
        let root = || "root".to_owned();
        Self {
            name: name.to_owned(),
            path: String::new(),
            owner: root(),
            group: root(),
            mode: "0600".to_owned(),
        }
    }
    /// Its mode as a number; `None` where that is none.
    pub fn bits(&self) -> Option<u32> {
        u32::from_str_radix(&self.mode, 8).ok().filter(|mode| *mode <= 0o7777)
    }
}

/// `package "NAME"`, in `host`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PackageRule {
    /// What the agent calls it.
    pub name: String,
    /// The file in the image: a Debian package, or a program.
    pub path: String,
    /// Where a program is put; `None`: it is a Debian package.
    pub program: Option<String>,
    /// Its version.
    pub version: String,
    /// Its SHA-256, in hexadecimal.
    pub sha256: String,
}

/// `directory "NAME"`, in `host`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DirectoryRule {
    /// What the agent calls it.
    pub name: String,
    /// Where it is.
    pub path: String,
}
