//! `vault`.

use super::{PATH, URL, filled, list, maybe, name, path, secs, text, time, unit, url};
use crate::model::{Revoke, Settings, TemplateSettings, VaultAppRole, VaultAws, VaultJwt, VaultSettings};
use muster_hcl::{Field, Repeated, Section, Table, Wrong};

const CA: &str = "Who may have signed its certificate, in PEM.";
const MOUNT: &str = "a path beneath `auth/`, such as \"aws\"";

pub(super) static VAULT: Section<Settings, VaultSettings> = Section {
    name: "vault",
    label: None,
    docs: "A token of Vault or OpenBao, and files that are made of its secrets, kept fresh for as long as the node \
           lives. One of `aws`, `approle` and `jwt` says how the node logs in. Unset: none.",
    table: &TABLE,
    get: |s| s.vault.as_ref(),
    open: |s| s.vault.get_or_insert_default(),
    default: VaultSettings::default,
};

static TABLE: Table<VaultSettings> = Table {
    fields: &[
        text!(VaultSettings, "address", "Where it is.", URL, url, server.address)
            .required()
            .example("\"https://vault.example.com:8200\""),
        maybe!(VaultSettings, "ca_file", CA, PATH, path, server.ca_file)
            .unset("those that the host trusts")
            .example("\"/etc/muster/ca.pem\""),
        maybe!(
            VaultSettings,
            "namespace",
            "The namespace.",
            "a namespace such as \"team/web\"",
            filled,
            namespace
        )
        .unset("none")
        .example("\"team/web\""),
        maybe!(VaultSettings, "cert_file", "A client's certificate, in PEM.", PATH, path, cert_file)
            .unset("none")
            .example("\"/etc/muster/client.pem\""),
        maybe!(VaultSettings, "key_file", "Its key, in PEM.", PATH, path, key_file)
            .unset("none")
            .example("\"/etc/muster/client.key\""),
        maybe!(
            VaultSettings,
            "token_file",
            "Where the token is left for others of the agent's user (mode 0600). Has to be on tmpfs. Either this or \
             `file`.",
            PATH,
            path,
            token_file
        )
        .unset("nowhere")
        .example("\"/run/muster/vault-token\""),
        maybe!(
            VaultSettings,
            "file",
            "The `file` block of `host` that the token is left in for anybody else, with its owner and mode. Has to be \
             on tmpfs.",
            "the name of a `file` block of `host`",
            name,
            file
        )
        .unset("by `token_file`")
        .example("\"vault-token\""),
        time!(
            VaultSettings,
            "refresh",
            "How often secrets without a lease are read again.",
            (secs(5), secs(86_400)),
            refresh
        ),
        Field::choice(
            "revoke",
            "When the token is revoked, and with it whatever was leased by it. `shutdown`: when the instance shuts \
             down; an agent that is restarted takes nothing from those that use its secrets. `stop`: whenever the \
             agent ends. `never`: it lapses by itself.",
            &["shutdown", "stop", "never"],
            |v: &VaultSettings| Some(v.revoke.name()),
            |v, word| {
                v.revoke = match word {
                    "stop" => Revoke::Stop,
                    "never" => Revoke::Never,
                    _ => Revoke::Shutdown,
                }
            },
        ),
    ],
    blocks: &[
        &Section {
            name: "aws",
            label: None,
            docs: "Login by AWS IAM: a question to STS that the instance's role has signed. OpenBao has no such method.",
            table: &AWS,
            get: |v: &VaultSettings| v.aws.as_ref(),
            open: |v| v.aws.get_or_insert_default(),
            default: VaultAws::default,
        },
        &Section {
            name: "approle",
            label: None,
            docs: "Login by AppRole.",
            table: &APPROLE,
            get: |v: &VaultSettings| v.approle.as_ref(),
            open: |v| v.approle.get_or_insert_default(),
            default: VaultAppRole::default,
        },
        &Section {
            name: "jwt",
            label: None,
            docs: "Login by a JSON Web Token that somebody else has signed.",
            table: &JWT,
            get: |v: &VaultSettings| v.jwt.as_ref(),
            open: |v| v.jwt.get_or_insert_default(),
            default: VaultJwt::default,
        },
        &TEMPLATE,
    ],
};

static AWS: Table<VaultAws> = Table {
    fields: &[
        text!(VaultAws, "role", "The role in Vault.", "a role such as \"node\"", filled, role)
            .required()
            .example("\"node\""),
        text!(VaultAws, "mount", "Where the method is mounted.", MOUNT, mount, mount),
        maybe!(
            VaultAws,
            "server_id",
            "What Vault has as `iam_server_id_header_value`: it binds the signature to this Vault.",
            "a text such as \"vault.example.com\"",
            filled,
            server_id
        )
        .unset("nothing binds it")
        .example("\"vault.example.com\""),
        maybe!(
            VaultAws,
            "region",
            "The region that is signed for: that of the STS which Vault asks.",
            "a region such as \"eu-west-1\"",
            filled,
            region
        )
        .unset("the global endpoint, us-east-1")
        .example("\"eu-west-1\""),
        maybe!(VaultAws, "sts_endpoint", "The address that is signed for.", URL, url, sts_endpoint)
            .unset("that of the region")
            .example("\"https://sts.eu-west-1.amazonaws.com\""),
    ],
    blocks: &[],
};

static APPROLE: Table<VaultAppRole> = Table {
    fields: &[
        text!(VaultAppRole, "role_id_file", "A file with the role's id.", PATH, path, role_id_file)
            .required()
            .example("\"/etc/muster/role-id\""),
        text!(
            VaultAppRole,
            "secret_id_file",
            "A file with the secret id, or with the token that it is wrapped in.",
            PATH,
            path,
            secret_id_file
        )
        .required()
        .example("\"/run/muster/secret-id\""),
        text!(VaultAppRole, "mount", "Where the method is mounted.", MOUNT, mount, mount),
        maybe!(
            VaultAppRole,
            "creation_path",
            "What has to have made the wrapping token: checked before it is used.",
            "a path such as \"auth/approle/role/node/secret-id\"",
            filled,
            creation_path
        )
        .unset("the file holds the secret id itself")
        .example("\"auth/approle/role/node/secret-id\""),
        maybe!(
            VaultAppRole,
            "keep_file",
            "Where a secret id is kept once it was unwrapped, so that an agent that is restarted can log in. Has to be \
             on tmpfs.",
            PATH,
            path,
            keep_file
        )
        .unset("in memory alone")
        .example("\"/run/muster/unwrapped-secret-id\""),
    ],
    blocks: &[],
};

static JWT: Table<VaultJwt> = Table {
    fields: &[
        text!(VaultJwt, "role", "The role in Vault.", "a role such as \"node\"", filled, role)
            .required()
            .example("\"node\""),
        text!(VaultJwt, "file", "A file with the token, read anew for each login.", PATH, path, file)
            .required()
            .example("\"/run/muster/identity.jwt\""),
        text!(VaultJwt, "mount", "Where the method is mounted.", MOUNT, mount, mount),
    ],
    blocks: &[],
};

fn mount(text: &str) -> Result<(), Wrong> {
    let fine =
        !text.is_empty() && !text.starts_with('/') && !text.ends_with('/') && !text.starts_with("auth/");
    let help = text.trim_matches('/').trim_start_matches("auth/");
    let help = (!fine && !help.is_empty()).then(|| format!("\"{help}\""));
    if fine { Ok(()) } else { Err(Wrong::new("is not such a path").help(help)) }
}

static TEMPLATE: Repeated<VaultSettings, TemplateSettings> = Repeated {
    name: "template",
    label: "a name of letters, digits, `-`, `_` and `.`",
    check: name,
    example: "nomad",
    docs: "A file that is made of secrets, by a template in the manner of Jinja: see docs/vault.md.",
    table: &TEMPLATE_TABLE,
    new: TemplateSettings::named,
    push: |vault, template| {
        vault.templates.retain(|known| known.name != template.name);
        vault.templates.push(template);
    },
    items: |vault| &vault.templates,
    label_of: |template| &template.name,
};

static TEMPLATE_TABLE: Table<TemplateSettings> = Table {
    fields: &[
        text!(TemplateSettings, "source", "The template.", PATH, path, source)
            .required()
            .example("\"/etc/muster/templates/nomad-token\""),
        maybe!(
            TemplateSettings,
            "path",
            "Where it is rendered to, for the agent's own user. Either this or `file`.",
            PATH,
            path,
            path
        )
        .unset("by `file`")
        .live_example("\"/run/muster/secrets/nomad-token\""),
        maybe!(
            TemplateSettings,
            "file",
            "The `file` block of `host` that it is rendered to, for anybody else.",
            "the name of a `file` block of `host`",
            name,
            file
        )
        .unset("by `path`")
        .example("\"registry\""),
        text!(
            TemplateSettings,
            "mode",
            "The mode of `path`.",
            "a mode in octal, such as \"0640\"",
            mode,
            mode
        ),
        list!(
            TemplateSettings,
            "reload",
            "The units that are reloaded when it has changed; of `host`'s `units`.",
            "units such as \"nomad.service\"",
            unit,
            reload
        )
        .unset("none")
        .example("[\"nomad.service\"]"),
        Field::flag(
            "on_disk",
            "Whether it may be on a disk; else only tmpfs will do.",
            |t: &TemplateSettings| Some(t.on_disk),
            |t, flag| t.on_disk = flag,
        ),
        Field::flag(
            "remove_at_stop",
            "Whether it is removed when the token is revoked.",
            |t: &TemplateSettings| Some(t.remove_at_stop),
            |t, flag| t.remove_at_stop = flag,
        ),
    ],
    blocks: &[],
};

fn mode(text: &str) -> Result<(), Wrong> {
    let template = TemplateSettings { mode: text.to_owned(), ..TemplateSettings::named("") };
    match template.bits() {
        Some(bits) if bits & 0o006 != 0 => Err(Wrong::new("lets everybody look")),
        Some(_) => Ok(()),
        None => Err(Wrong::new("is not a mode")),
    }
}
