//! A token of Vault, and files that are made of its secrets.

use super::reloads::Reloads;
use super::{inputs_of, kept, wanted};
use crate::drive::{Looked, Made};
use crate::host::{Contents, Done, Host, Request, Verb};
use crate::node::{Aws, Node};
use bootstrap_config::{Settings, TemplateSettings, VaultSettings};
use bootstrap_core::{Checked, Failure, Inputs, Now, Step};
use bootstrap_vault::place::{self, PlaceError};
use bootstrap_vault::{
    Destination, Keeper, Method, Rendered, SecretId, Server, SignLogin, Signing, Template, VaultError,
    VaultOptions,
};
use fleet::ErrorClass;
use fleet::ports::Clock;
use std::collections::BTreeSet;
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// What is held, below the run directory, for an agent that is started again.
const STATE: &str = "vault.state";
/// While nothing is held, so often it is looked whether something is.
const LOOKS: Duration = Duration::from_secs(1);

/// What is held, and what it was made of.
pub(crate) struct Held {
    made_of: Inputs,
    templates: Vec<TemplateSettings>,
    /// The `file` of `host` that the token is left in.
    token_by_root: Option<String>,
    keeper: Keeper,
    /// Those of other settings, until this one has what it needs: their tokens are revoked then.
    replaced: Vec<Keeper>,
}

fn inputs(settings: &Settings, vault: &VaultSettings) -> Inputs {
    // Where its files go is part of it.
    inputs_of(&format!("{vault:?} {:?}", settings.host.files))
}

pub(super) async fn check(node: &Node) -> Looked {
    let settings = node.settings();
    let vault = wanted(settings.vault.clone(), Step::Vault)?;
    let inputs = inputs(&settings, &vault);
    let mut held = node.vault.lock().await;
    let Some(held) = held.as_mut().filter(|held| held.made_of == inputs) else {
        return Ok((Checked::Needed, inputs));
    };
    for handed in held.keeper.handed_out() {
        let Some(file) = file_of(&settings, held, &handed.destination.path) else { continue };
        if !kept::is_whole(node, file, handed.contents.expose()).await {
            held.keeper.lost(&handed);
        }
    }
    // What Vault cannot say just now does not make a token bad.
    let stands = match held.keeper.verify().await {
        Ok(()) => held.keeper.is_whole(node.clock.monotonic()),
        Err(error) => error.class() != ErrorClass::Denied && held.keeper.is_whole(node.clock.monotonic()),
    };
    let stands = stands && due(node, held).is_empty();
    Ok((if stands { Checked::Already } else { Checked::Needed }, inputs))
}

pub(super) async fn apply(node: &Node) -> Made {
    let settings = node.settings();
    let vault = wanted(settings.vault.clone(), Step::Vault)?;
    let inputs = inputs(&settings, &vault);
    let mut slot = node.vault.lock().await;
    if slot.as_ref().is_none_or(|held| held.made_of != inputs) {
        let signer = vault.aws.is_some().then(|| signer(node)).transpose()?;
        let options = options(node, &settings, &vault)?;
        let keeper = Keeper::new(options.clone(), signer, node.seed()).map_err(Failure::from)?;
        let (templates, token_by_root) = (vault.templates.clone(), vault.file.clone());
        let mut replaced = Vec::new();
        if let Some(before) = slot.take() {
            replaced = before.replaced;
            // The token of one that serves these, too, is gone on with.
            replaced.extend(Some(before.keeper).filter(|keeper| !keeper.serves(&options)));
        }
        *slot = Some(Held { made_of: inputs, templates, token_by_root, keeper, replaced });
    }
    let Some(held) = slot.as_mut() else { unreachable!("it was made above") };
    match do_what_is_due(node, held).await {
        Some(failure) => Err(failure),
        None if held.keeper.is_whole(node.clock.monotonic()) => {
            let mut replaced = std::mem::take(&mut held.replaced);
            // Settings that are back go on with the token that they had.
            replaced.retain(|keeper| !keeper.shares_token(&held.keeper));
            let_go(replaced).await;
            Ok(None)
        }
        None => Err(Failure::new(ErrorClass::Transient, "not all of what Vault has is in its place yet")),
    }
}

/// Does what is due of what is held. * returns: in what time something is due again.
pub(crate) async fn keep(node: &Node) -> Duration {
    let mut slot = node.vault.lock().await;
    let Some(held) = slot.as_mut() else { return LOOKS };
    let now = node.clock.monotonic();
    if held.keeper.next_wake(now) <= now {
        let failure = do_what_is_due(node, held).await;
        node.alarm("vault", failure.map(|failure| format!("vault: {failure}")));
    }
    let now = node.clock.monotonic();
    held.keeper.next_wake(now).saturating_sub(now).clamp(Duration::from_millis(100), Duration::from_secs(60))
}

/// Revokes the tokens of settings that are not these any more.
async fn let_go(replaced: Vec<Keeper>) {
    for keeper in replaced {
        match keeper.let_go().await {
            Ok(()) => tracing::info!("revoked the token of other settings of Vault"),
            Err(error) => tracing::warn!(%error, "could not revoke the token of other settings of Vault"),
        }
    }
}

/// What a process before this one has left, where this one did not come to take it up; `None`: nothing.
async fn left(node: &Node) -> Option<Keeper> {
    let settings = node.settings();
    let options = options(node, &settings, settings.vault.as_ref()?).ok()?;
    if !options.state_file.as_ref()?.exists() {
        return None;
    }
    let mut keeper = Keeper::new(options, None, node.seed()).ok()?;
    keeper.take_up(Now { wall: node.clock.wall(), monotonic: node.clock.monotonic() }).await;
    keeper.has_token().then_some(keeper)
}

/// Ends what is held: the token is revoked, and files that are worthless without it are removed.
pub async fn stop(node: &Node) {
    let held = node.vault.lock().await.take();
    let (mut keeper, replaced) = match held {
        Some(held) => (held.keeper, held.replaced),
        None => match left(node).await {
            Some(keeper) => (keeper, Vec::new()),
            None => return,
        },
    };
    let (files, revoked) = keeper.stop().await;
    match revoked {
        Ok(()) => tracing::info!("revoked the token of Vault"),
        Err(error) => tracing::warn!(%error, "could not revoke the token of Vault"),
    }
    if let Err(error) = place::remove(files.iter().map(PathBuf::as_path)) {
        tracing::warn!(%error, "could not remove what Vault's secrets were rendered to");
    }
    // Last: what is in use goes whether or not theirs still answer.
    let_go(replaced).await;
}

/// A step of the keeper: its files are placed, the units that use them reloaded. * returns: the first failure.
async fn do_what_is_due(node: &Node, held: &mut Held) -> Option<Failure> {
    let now = Now { wall: node.clock.wall(), monotonic: node.clock.monotonic() };
    let stepped = held.keeper.step(now).await;
    for happened in &stepped.happened {
        tracing::info!(?happened, "kept the secrets of Vault");
    }
    let mut failures: Vec<Failure> = stepped.failures.into_iter().map(Failure::from).collect();
    for rendered in stepped.rendered {
        match place_one(&*node.host, node, held, &rendered).await {
            Ok(()) => held.keeper.placed(&rendered),
            Err((failure, error)) => {
                if let Some(error) = error {
                    held.keeper.not_placed(&rendered, &error, now.monotonic);
                }
                failures.push(failure);
            }
        }
    }
    let mut reloaded = BTreeSet::new();
    for unit in due(node, held) {
        // One that does not run yet finds the new file when it starts.
        match node.host.ask(Request::Unit { verb: Verb::Reload, unit: unit.clone() }).await {
            Ok(_) => {
                reloaded.insert(unit);
            }
            Err(error) => failures.push(error.into()),
        }
    }
    if let Err(error) = held.keeper.reloaded(&reloaded) {
        failures.push(error.into());
    }
    let marks = Reloads::new(&node.directories.run);
    for (file, units) in by_host(held) {
        if marks.is_due(file)
            && units.iter().all(|unit| reloaded.contains(unit))
            && let Err(error) = marks.settle(file)
        {
            failures.push(unmarked(file, &error));
        }
    }
    for failure in &failures {
        tracing::warn!(%failure, "could not keep the secrets of Vault");
    }
    failures.into_iter().next()
}

/// The templates that root puts in their places: the file's name, and its units.
fn by_host(held: &Held) -> impl Iterator<Item = (&str, &[String])> {
    held.templates.iter().filter_map(|template| Some((template.file.as_deref()?, template.reload.as_slice())))
}

/// The units that are due for a reload: of what was placed now, and of what one before us placed and did not come to tell.
fn due(node: &Node, held: &Held) -> BTreeSet<String> {
    let marks = Reloads::new(&node.directories.run);
    let ours = by_host(held).filter(|(file, _)| marks.is_due(file));
    let mut due = held.keeper.due();
    due.extend(ours.flat_map(|(_, units)| units.iter().cloned()));
    due
}

fn unmarked(file: &str, error: &std::io::Error) -> Failure {
    let what = format_args!("which units are to be reloaded for the file {file} could not be noted: {error}");
    Failure::new(ErrorClass::Transient, what)
}

async fn place_one(
    host: &dyn Host,
    node: &Node,
    held: &Held,
    rendered: &Rendered,
) -> Result<(), (Failure, Option<VaultError>)> {
    let settings = node.settings();
    if let Some(file) = file_of(&settings, held, &rendered.destination.path) {
        let marks = Reloads::new(&node.directories.run);
        let told = |error: std::io::Error| (unmarked(file, &error), None);
        let was_due = rendered.reload.is_empty() || marks.intend(file).map_err(told)?;
        let contents = Contents(rendered.contents.expose().to_owned());
        let done = host.ask(Request::Place { file: file.to_owned(), contents }).await;
        // What may have been done is due until it is known that it was not.
        let done = done.map_err(|error| {
            let path = rendered.destination.path.clone();
            let (class, why) = (error.class, error.why.clone());
            let refused = PlaceError::System { path, doing: "have root write", class, why };
            (Failure::from(error), Some(VaultError::from(refused)))
        })?;
        if done == Done::Unchanged && !was_due {
            marks.settle(file).map_err(told)?;
        }
        return Ok(());
    }
    make_room(&node.directories.run, &rendered.destination.path);
    place::place(rendered).map(|_| ()).map_err(|error| {
        let error = VaultError::from(error);
        (Failure::from(error.clone()), Some(error))
    })
}

/// The `file` of `host` by which root writes to a path, where it does.
fn file_of<'a>(settings: &Settings, held: &'a Held, path: &Path) -> Option<&'a str> {
    let files = held.templates.iter().filter_map(|template| template.file.as_deref());
    files.chain(held.token_by_root.as_deref()).find(|file| {
        let rule = settings.host.files.iter().find(|rule| rule.name == **file);
        rule.is_some_and(|rule| Path::new(&rule.path) == path)
    })
}

/// Makes the directory of a file in the agent's own run directory, which nobody else could: it is new with every boot.
fn make_room(run: &Path, path: &Path) {
    let Some(directory) = path.parent().filter(|directory| directory.starts_with(run)) else { return };
    if let Err(error) = DirBuilder::new().recursive(true).mode(0o700).create(directory) {
        // Writing the file says it again, as a failure of the step.
        tracing::debug!(%error, directory = %directory.display(), "could not make a directory");
    }
}

fn options(node: &Node, settings: &Settings, vault: &VaultSettings) -> Result<VaultOptions, Failure> {
    let path = |text: &Option<String>| text.as_ref().map(PathBuf::from);
    let server = Server {
        namespace: vault.namespace.clone(),
        ca_file: path(&vault.server.ca_file),
        cert_file: path(&vault.cert_file),
        key_file: path(&vault.key_file),
        ..Server::new(vault.server.address.clone())
    };
    let options = VaultOptions::new(server, method(vault)?);
    let by_root = |file: &Option<String>| {
        let file = file.as_ref()?;
        let rule = settings.host.files.iter().find(|rule| rule.name == *file)?;
        Some(Destination {
            mode: rule.bits().unwrap_or(0o600),
            owner: Some(rule.owner.clone()),
            group: Some(rule.group.clone()),
            ..Destination::private(&rule.path)
        })
    };
    let templates = vault.templates.iter().map(|template| {
        let destination = match (by_root(&template.file), &template.path) {
            (Some(destination), _) => Destination { require_tmpfs: false, ..destination },
            (None, Some(path)) => Destination {
                mode: template.bits().unwrap_or(0o600),
                require_tmpfs: !template.on_disk,
                ..Destination::private(path)
            },
            (None, None) => {
                let what = format!("the template {} is rendered to nowhere", template.name);
                return Err(Failure::lasting(ErrorClass::Malformed, what));
            }
        };
        Ok(Template {
            source: PathBuf::from(&template.source),
            destination,
            reload: template.reload.clone(),
            remove_at_stop: template.remove_at_stop,
        })
    });
    Ok(VaultOptions {
        state_file: Some(node.directories.run.join(STATE)),
        token_file: by_root(&vault.file).or_else(|| vault.token_file.as_ref().map(Destination::private)),
        templates: templates.collect::<Result<_, Failure>>()?,
        refresh: vault.refresh,
        ..options
    })
}

fn method(vault: &VaultSettings) -> Result<Method, Failure> {
    if let Some(aws) = &vault.aws {
        return Ok(Method::Aws { mount: aws.mount.clone(), role: aws.role.clone() });
    }
    if let Some(approle) = &vault.approle {
        let file = PathBuf::from(&approle.secret_id_file);
        let secret_id = match &approle.creation_path {
            Some(creation_path) => SecretId::Wrapped {
                file,
                creation_path: creation_path.clone(),
                keep: approle.keep_file.as_ref().map(PathBuf::from),
            },
            None => SecretId::Plain { file },
        };
        let role_id = PathBuf::from(&approle.role_id_file);
        return Ok(Method::AppRole { mount: approle.mount.clone(), role_id, secret_id });
    }
    let jwt = vault.jwt.as_ref();
    let jwt = jwt.ok_or_else(|| {
        Failure::lasting(ErrorClass::Malformed, "nothing says how the node logs in to Vault")
    })?;
    Ok(Method::Jwt { mount: jwt.mount.clone(), role: jwt.role.clone(), file: PathBuf::from(&jwt.file) })
}

/// Signs for the login by AWS IAM, as the instance's role.
fn signer(node: &Node) -> Result<Arc<dyn SignLogin>, Failure> {
    let region = node.identity()?.document.region.to_string();
    let aws: Arc<dyn Aws> = Arc::clone(&node.aws);
    let clock: Arc<dyn Clock> = Arc::clone(&node.clock);
    let whom = node.settings().vault.and_then(|vault| vault.aws).unwrap_or_default();
    Ok(Arc::new(move || -> Signing {
        let (aws, clock, region, whom) = (Arc::clone(&aws), Arc::clone(&clock), region.clone(), whom.clone());
        Box::pin(async move { aws.sign_login(&region, &whom, clock.wall()).await })
    }))
}
