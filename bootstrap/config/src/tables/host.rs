//! `host`: what may be done as root on the agent's behalf.

use super::{PATH, filled, list, maybe, name, path, text, unit};
use crate::model::{DirectoryRule, FileRule, HostSettings, PackageRule, Settings};
use muster_hcl::{Field, Repeated, Section, Table, Wrong};

const NAME: &str = "a name of letters, digits, `-`, `_` and `.`";

pub(super) static HOST: Section<Settings, HostSettings> = Section {
    name: "host",
    label: None,
    docs: "What is done as root on the agent's behalf, and no more: the agent itself has no rights. From files of \
           the image alone; what parameters and tags say of it is refused.",
    table: &TABLE,
    get: |s| Some(&s.host),
    open: |s| &mut s.host,
    default: HostSettings::default,
};

static TABLE: Table<HostSettings> = Table {
    fields: &[
        list!(
            HostSettings,
            "units",
            "The units that may be started, stopped, restarted and reloaded.",
            "units such as \"consul.service\"",
            unit,
            units
        )
        .unset("none")
        .live_example("[\"consul.service\", \"nomad.service\", \"prometheus-node-exporter.service\"]"),
        Field::flag(
            "power_off",
            "Whether the instance may be powered off: what a step whose failure is to `terminate` needs. The \
             launch template's shutdown behaviour has to be `terminate`.",
            |h: &HostSettings| Some(h.power_off),
            |h, flag| h.power_off = flag,
        ),
    ],
    blocks: &[&FILE, &PACKAGE, &DIRECTORY],
};

static FILE: Repeated<HostSettings, FileRule> = Repeated {
    name: "file",
    label: NAME,
    check: name,
    example: "consul",
    docs: "A file that may be written: `consul` and `nomad` are their configurations, `node_exporter` its arguments.",
    table: &FILE_TABLE,
    new: FileRule::named,
    push: |host, rule| {
        host.files.retain(|known| known.name != rule.name);
        host.files.push(rule);
    },
    items: |host| &host.files,
    label_of: |rule| &rule.name,
};

static FILE_TABLE: Table<FileRule> = Table {
    fields: &[
        text!(FileRule, "path", "Where it is.", PATH, path, path)
            .required()
            .example("\"/etc/consul.d/muster.json\""),
        text!(FileRule, "owner", "Its owner.", "a user's name or number", filled, owner),
        text!(FileRule, "group", "Its group.", "a group's name or number", filled, group),
        text!(FileRule, "mode", "Its mode.", "a mode in octal, such as \"0640\"", mode, mode),
    ],
    blocks: &[],
};

fn mode(text: &str) -> Result<(), Wrong> {
    let rule = FileRule { mode: text.to_owned(), ..FileRule::named("") };
    match rule.bits() {
        Some(bits) if bits & 0o002 != 0 => Err(Wrong::new("lets everybody write")),
        Some(_) => Ok(()),
        None => Err(Wrong::new("is not a mode")),
    }
}

static PACKAGE: Repeated<HostSettings, PackageRule> = Repeated {
    name: "package",
    label: NAME,
    check: name,
    example: "node_exporter",
    docs: "What is in the image and may be installed, where it is what it should be: a Debian package, or a program.",
    table: &PACKAGE_TABLE,
    new: |label| PackageRule { name: label.to_owned(), ..PackageRule::default() },
    push: |host, rule| {
        host.packages.retain(|known| known.name != rule.name);
        host.packages.push(rule);
    },
    items: |host| &host.packages,
    label_of: |rule| &rule.name,
};

static PACKAGE_TABLE: Table<PackageRule> = Table {
    fields: &[
        text!(PackageRule, "path", "The file.", PATH, path, path)
            .required()
            .example("\"/usr/share/muster/node-exporter.deb\""),
        maybe!(
            PackageRule,
            "program",
            "Where the file is put, for root to write and everybody to run: it is a program.",
            PATH,
            path,
            program
        )
        .unset("it is a Debian package")
        .example("\"/usr/local/bin/node_exporter\""),
        text!(PackageRule, "version", "Its version.", "a version such as \"1.5.0-1\"", filled, version)
            .required()
            .example("\"1.5.0-1\""),
        text!(PackageRule, "sha256", "Its SHA-256.", "64 hexadecimal digits", sha256, sha256)
            .required()
            .example("\"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\""),
    ],
    blocks: &[],
};

fn sha256(text: &str) -> Result<(), Wrong> {
    let fine = text.len() == 64 && text.chars().all(|c| c.is_ascii_digit() || ('a'..='f').contains(&c));
    if fine { Ok(()) } else { Err(Wrong::new("is not a SHA-256 in lower case")) }
}

static DIRECTORY: Repeated<HostSettings, DirectoryRule> = Repeated {
    name: "directory",
    label: NAME,
    check: name,
    example: "consul",
    docs: "A directory that may be emptied where what it holds is another instance's: `consul` and `nomad` are \
           where these keep their state.",
    table: &DIRECTORY_TABLE,
    new: |label| DirectoryRule { name: label.to_owned(), ..DirectoryRule::default() },
    push: |host, rule| {
        host.directories.retain(|known| known.name != rule.name);
        host.directories.push(rule);
    },
    items: |host| &host.directories,
    label_of: |rule| &rule.name,
};

static DIRECTORY_TABLE: Table<DirectoryRule> = Table {
    fields: &[text!(
        DirectoryRule,
        "path",
        "Where it is.",
        "an absolute path, at least two deep",
        deep,
        path
    )
    .required()
    .example("\"/var/lib/consul\"")],
    blocks: &[],
};

/// Nobody wants `/var` emptied.
fn deep(text: &str) -> Result<(), Wrong> {
    path(text)?;
    let parts = text.split('/').filter(|part| !part.is_empty()).count();
    if parts >= 2 { Ok(()) } else { Err(Wrong::new("is too near the root")) }
}
