//! Holds a token and the files that are made of secrets, over the whole life of a node.

mod handed;
mod state;

pub(crate) use state::reads;

use crate::answer::Fields;
use crate::client::{Call, Client};
use crate::login::{self, Memory, SignLogin};
use crate::place::{self, Placed};
use crate::request::{Request, Term};
use crate::template::{Known, Outcome, Rendered, Source, TemplateError};
use crate::token::Token;
use crate::{VaultError, VaultOptions};
use bootstrap_core::{Lifetime, Now, Renewal, spread};
use fleet::ErrorClass;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// The most secrets of one template.
const MOST_SECRETS: usize = 200;
/// The longest pause after failures in a row; the first is a second, each one after it twice as long.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);
/// The shortest time between two fetches of a secret, however soon it ends.
const SHORTEST: Duration = Duration::from_secs(5);

/// What happened, for the log and the metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Happened {
    /// What a process before this one held was taken up.
    Resumed {
        /// How many secrets that were.
        secrets: usize,
    },
    /// A login came off.
    LoggedIn {
        /// How long the token lasts.
        lasts: Duration,
    },
    /// The token was renewed.
    Renewed {
        /// How long it lasts now.
        lasts: Duration,
    },
    /// The token was found to be invalid: revoked, most likely.
    TokenLost,
    /// A secret was fetched, for the first time or anew.
    Fetched {
        /// Its path.
        path: String,
        /// Whether it differs from the one before.
        changed: bool,
    },
    /// A lease was renewed.
    LeaseRenewed {
        /// The secret's path.
        path: String,
    },
}

/// What a step came to.
#[derive(Debug, Default)]
#[must_use = "what was rendered has to be placed"]
pub struct Stepped {
    /// Files that have to be placed; each is given again until [`Keeper::placed`] was said of it.
    pub rendered: Vec<Rendered>,
    /// What happened, in its order.
    pub happened: Vec<Happened>,
    /// What went wrong. It is tried again by the next step that is due.
    pub failures: Vec<VaultError>,
}

/// Holds a token, and the secrets of templates. It does nothing by itself: [`Keeper::step`] does what is due, and
/// [`Keeper::next_wake`] says when that is. A step that is given up half way loses nothing but its calls.
///
/// Times are handed in; monotonic ones are counted from anywhere, as long as it is always the same.
pub struct Keeper {
    options: VaultOptions,
    client: Client,
    signer: Option<Arc<dyn SignLogin>>,
    seed: u64,
    token: Option<Token>,
    /// Whether it was looked for what a process before this one has left.
    resumed: bool,
    /// Whether the token's file still has to be written.
    token_due: bool,
    unwrapped: Memory,
    login: Attempts,
    secrets: BTreeMap<Request, Held>,
    files: Vec<File>,
}

/// A secret that is held.
struct Held {
    fields: Fields,
    term: Term,
    attempts: Attempts,
}

/// A file that is made of secrets.
struct File {
    source: Source,
    /// What it was last made of.
    made_of: BTreeSet<Request>,
    /// Its last form; nothing before the first, and after something that it is made of has changed.
    rendered: Option<Rendered>,
    placed: bool,
    attempts: Attempts,
}

/// Failures in a row, and when it is tried again.
#[derive(Clone, Copy, Default)]
struct Attempts {
    failures: u32,
    again: Duration,
    /// Until when the server has asked to be left alone, whoever it is that asks.
    asked: Duration,
}

impl Attempts {
    fn failed(&mut self, error: &VaultError, now: Duration) {
        let pause = Duration::from_secs(1 << self.failures.min(16)).min(LONGEST_PAUSE);
        self.failures += 1;
        let asked = match error.class() {
            ErrorClass::Throttled { retry_after: Some(after) } => after,
            _ => Duration::ZERO,
        };
        self.again = now.saturating_add(pause.max(asked));
        self.asked = if asked.is_zero() { Duration::ZERO } else { now.saturating_add(asked) };
    }
}

impl fmt::Debug for Keeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { client, token, secrets, .. } = self;
        let secrets: Vec<&Request> = secrets.keys().collect();
        f.debug_struct("Keeper")
            .field("client", client)
            .field("token", token)
            .field("secrets", &secrets)
            .finish_non_exhaustive()
    }
}

impl Keeper {
    /// Reads the templates and checks the address; asks nobody.
    ///
    /// * `signer`: for the method AWS; the others need none.
    /// * `seed`: of this node, so that a fleet's renewals spread.
    pub fn new(
        options: VaultOptions,
        signer: Option<Arc<dyn SignLogin>>,
        seed: u64,
    ) -> Result<Self, VaultError> {
        let client = Client::new(&options.server)?;
        let files = options.templates.iter().map(|template| {
            let source = Source::read(template)?;
            Ok(File {
                source,
                made_of: BTreeSet::new(),
                rendered: None,
                placed: false,
                attempts: Attempts::default(),
            })
        });
        let files = files.collect::<Result<_, TemplateError>>()?;
        Ok(Self {
            options,
            client,
            signer,
            seed,
            token: None,
            resumed: false,
            token_due: false,
            unwrapped: Memory::default(),
            login: Attempts::default(),
            secrets: BTreeMap::new(),
            files,
        })
    }

    /// Whether all is as it should be, as far as the last step knows: logged in with a token that still lasts, its
    /// file written, every template rendered and placed.
    pub fn is_whole(&self, now: Duration) -> bool {
        let lasts = |token: &Token| now < token.lifetime.from.saturating_add(token.lifetime.lasts);
        let token = self.token.as_ref().is_some_and(lasts);
        token && !self.token_due && self.files.iter().all(|file| file.placed)
    }

    /// When the next step is due, in monotonic time; `now` or earlier: at once.
    pub fn next_wake(&self, now: Duration) -> Duration {
        let Some(token) = &self.token else { return self.login.again };
        let of_token = match token.next(now, self.seed) {
            Renewal::At(at) => at,
            Renewal::Renew => now,
            Renewal::Replace => self.login.again.max(now),
        };
        let of_file = if self.token_due { self.login.again } else { of_token };
        let secrets = self.secrets.values().map(|held| match due(held, now, self.seed) {
            Renewal::At(at) => at.max(held.attempts.again),
            _ => held.attempts.again.max(now),
        });
        let files = self.files.iter().filter(|file| !file.placed).map(|file| file.attempts.again);
        secrets.chain(files).fold(of_token.min(of_file), Duration::min)
    }

    /// Does what is due. What was never had is asked for whenever this is called, so that the caller's own retries
    /// pace the boot; what is held is renewed and read again in its own time.
    ///
    /// Takes as long as its calls: each is bounded by [`crate::Server::timeout`].
    pub async fn step(&mut self, now: Now) -> Stepped {
        let mut stepped = Stepped::default();
        self.resume(now, &mut stepped).await;
        // Twice at most: a token that is found to be invalid is had anew, and what was left is done with that.
        for attempt in 0..2 {
            if !self.keep_token(now, &mut stepped).await {
                break;
            }
            let fresh =
                attempt > 0 || stepped.happened.iter().any(|one| matches!(one, Happened::LoggedIn { .. }));
            let valid = self.keep_secrets(now, &mut stepped).await && self.render(now, &mut stepped).await;
            if valid {
                break;
            }
            if fresh {
                // What a token that is seconds old may not is a matter of its policies (which lack lookup-self).
                stepped.failures.push(VaultError::Denied {
                    call: "GET auth/token/lookup-self".to_owned(),
                    words: "a token that is new does not count as valid".to_owned(),
                });
                break;
            }
            stepped.happened.push(Happened::TokenLost);
            self.token = None;
        }
        self.keep_token_file(now, &mut stepped);
        self.leave(now, &mut stepped);
        let files = self.files.iter().filter(|file| !file.placed);
        stepped.rendered.extend(files.filter_map(|file| file.rendered.clone()));
        stepped
    }

    /// The units that are due for a reload: a file of theirs is in its place, and nobody has told of theirs since.
    pub fn due(&self) -> BTreeSet<String> {
        let placed = self.files.iter().filter(|file| file.placed).map(|file| &file.source.of);
        let due = placed.filter(|of| place::is_due(&of.destination.path));
        due.flat_map(|of| of.reload.iter().cloned()).collect()
    }

    /// That these units were reloaded: their files' marks go (see [`place::place`]). Says of no file more than its
    /// units warrant.
    pub fn reloaded(&self, units: &BTreeSet<String>) -> Result<(), VaultError> {
        let templates = self.files.iter().filter(|file| file.placed).map(|file| &file.source.of);
        for template in templates.filter(|of| of.reload.iter().all(|unit| units.contains(unit))) {
            place::reloaded(&template.destination.path)?;
        }
        Ok(())
    }

    /// A step whose files this process puts in their places itself.
    ///
    /// * returns: what the step came to, and the units that are due for a reload; [`Keeper::reloaded`] is told of
    ///   those that were.
    pub async fn step_and_place(&mut self, now: Now) -> (Stepped, BTreeSet<String>) {
        let mut stepped = self.step(now).await;
        let mut reload = BTreeSet::new();
        for rendered in std::mem::take(&mut stepped.rendered) {
            match place::place(&rendered) {
                Ok(placed) => {
                    if placed == Placed::Contents {
                        reload.extend(rendered.reload.iter().cloned());
                    }
                    self.placed(&rendered);
                }
                Err(error) => {
                    let error = error.into();
                    self.not_placed(&rendered, &error, now.monotonic);
                    stepped.failures.push(error);
                    stepped.rendered.push(rendered);
                }
            }
        }
        (stepped, reload)
    }

    /// Looks whether it is really so: Vault knows the token, its file holds it, and the rendered files are as they were placed.
    /// What is found to be otherwise is due in the next step.
    pub async fn verify(&mut self) -> Result<(), VaultError> {
        let Some(token) = &self.token else {
            return Err(VaultError::TokenInvalid { call: "GET auth/token/lookup-self".to_owned() });
        };
        if let Some(to) = &self.options.token_file {
            self.token_due |= !place::stands(to, &token.secret);
        }
        for file in &mut self.files {
            let rendered = file.rendered.as_ref();
            file.placed &= rendered.is_some_and(|of| place::stands(&of.destination, &of.contents));
        }
        let looked = self.client.look_up(&token.secret).await;
        if let Err(VaultError::TokenInvalid { .. }) = &looked {
            self.token = None;
        }
        looked
    }

    /// Ends it: revokes the token and every lease that was had by it, removes the token's file, a secret id that was
    /// kept, and what was left for the next process. For when the node goes, not for a restart of the agent.
    ///
    /// * returns: the rendered files that are to be removed (see [`place::remove`]), since they may be somebody
    ///   else's; and what went wrong. Files go whether or not Vault could be asked.
    pub async fn stop(&mut self) -> (Vec<PathBuf>, Result<(), VaultError>) {
        // One of somebody else's is not ours to remove, and what it holds is worthless.
        let own = self.options.token_file.as_ref().filter(|to| !to.is_of_another());
        let own = own.map(|to| to.path.as_path());
        let kept = match &self.options.method {
            crate::Method::AppRole { secret_id: crate::SecretId::Wrapped { keep, .. }, .. } => {
                keep.as_deref()
            }
            _ => None,
        };
        let left = self.options.state_file.as_deref();
        let removed = place::remove(own.into_iter().chain(kept).chain(left)).map_err(VaultError::from);
        let revoked = match self.token.take() {
            Some(token) => token.revoke(&self.client).await,
            None => Ok(()),
        };
        self.secrets.clear();
        self.unwrapped = Memory::default();
        let files = self.files.iter().filter(|file| file.source.of.remove_at_stop);
        (files.map(|file| file.source.of.destination.path.clone()).collect(), revoked.and(removed))
    }

    /// Whether this keeper's token is one that a keeper of these options would go on with: of the same server, had in the same way.
    pub fn serves(&self, options: &VaultOptions) -> bool {
        state::whose(&self.options) == state::whose(options)
    }

    /// Revokes the token and every lease that was had by it, and leaves all files: they are another keeper's by now.
    pub async fn let_go(mut self) -> Result<(), VaultError> {
        match self.token.take() {
            Some(token) => token.revoke(&self.client).await,
            None => Ok(()),
        }
    }

    /// Whether this keeper has a token, and the other one the same: it was taken up again.
    pub fn shares_token(&self, other: &Self) -> bool {
        let both = self.token.as_ref().zip(other.token.as_ref());
        both.is_some_and(|(ours, theirs)| ours.secret.expose() == theirs.secret.expose())
    }

    /// Whether this keeper has a token.
    pub const fn has_token(&self) -> bool {
        self.token.is_some()
    }

    /// Takes up what a process before this one has left, to end it; the first step does so by itself.
    pub async fn take_up(&mut self, now: Now) {
        self.resume(now, &mut Stepped::default()).await;
    }

    /// Whether there is a token in the end.
    async fn keep_token(&mut self, now: Now, stepped: &mut Stepped) -> bool {
        let due = self.token.as_ref().map(|token| token.next(now.monotonic, self.seed));
        match due {
            Some(Renewal::At(_)) => true,
            Some(Renewal::Renew) => self.renew(now, stepped).await,
            // While it still holds, a login that fails is tried in its own time.
            Some(Renewal::Replace) if now.monotonic < self.login.again => true,
            Some(Renewal::Replace) | None => self.log_in(now, stepped).await || self.token.is_some(),
        }
    }

    async fn renew(&mut self, now: Now, stepped: &mut Stepped) -> bool {
        let Some(token) = &mut self.token else { return false };
        match token.renew(&self.client, now.monotonic).await {
            Ok(()) => {
                stepped.happened.push(Happened::Renewed { lasts: token.lifetime.lasts });
                true
            }
            Err(VaultError::TokenInvalid { .. }) => {
                stepped.happened.push(Happened::TokenLost);
                self.token = None;
                self.log_in(now, stepped).await
            }
            Err(error) => {
                stepped.failures.push(error);
                true
            }
        }
    }

    async fn log_in(&mut self, now: Now, stepped: &mut Stepped) -> bool {
        let left = self.login.asked.saturating_sub(now.monotonic);
        if !left.is_zero() {
            let call = "the login waits, as the server has asked".to_owned();
            stepped.failures.push(VaultError::Throttled { call, retry_after: Some(left) });
            return false;
        }
        let Self { client, options, signer, unwrapped, .. } = self;
        match login::login(client, &options.method, signer.as_deref(), unwrapped).await {
            Ok(auth) => {
                let token = Token::of(auth, now.monotonic);
                stepped.happened.push(Happened::LoggedIn { lasts: token.lifetime.lasts });
                self.token = Some(token);
                self.token_due = true;
                self.login = Attempts::default();
                // Leases end with the token that they were had by.
                for held in self.secrets.values_mut() {
                    match &mut held.term {
                        Term::Lease { lifetime, .. } | Term::Certificate { lifetime, leased: true } => {
                            *lifetime =
                                Lifetime { from: now.monotonic, lasts: Duration::ZERO, renewable: false };
                            held.attempts = Attempts::default();
                        }
                        Term::Open { .. } | Term::Certificate { leased: false, .. } => {}
                    }
                }
                true
            }
            Err(error) => {
                self.login.failed(&error, now.monotonic);
                stepped.failures.push(error);
                false
            }
        }
    }

    /// Renews and reads again what is due. * returns: `false`: the token was found to be invalid.
    async fn keep_secrets(&mut self, now: Now, stepped: &mut Stepped) -> bool {
        let due: Vec<(Request, Renewal)> = self
            .secrets
            .iter()
            .filter(|(_, held)| held.attempts.again <= now.monotonic)
            .map(|(request, held)| (request.clone(), due(held, now.monotonic, self.seed)))
            .filter(|(_, renewal)| !matches!(renewal, Renewal::At(_)))
            .collect();
        for (request, renewal) in due {
            let result = match renewal {
                Renewal::Renew => self.renew_lease(&request, now, stepped).await,
                _ => self.fetch(&request, now, stepped).await,
            };
            match result {
                Ok(()) => {}
                Err(VaultError::TokenInvalid { .. }) => return false,
                Err(error) => {
                    if let Some(held) = self.secrets.get_mut(&request) {
                        held.attempts.failed(&error, now.monotonic);
                    }
                    stepped.failures.push(error);
                }
            }
        }
        true
    }

    async fn renew_lease(
        &mut self,
        request: &Request,
        now: Now,
        stepped: &mut Stepped,
    ) -> Result<(), VaultError> {
        #[derive(Serialize)]
        struct Renew<'a> {
            lease_id: &'a str,
        }
        let (Some(token), Some(held)) = (&self.token, self.secrets.get_mut(request)) else { return Ok(()) };
        let Term::Lease { id, lifetime } = &mut held.term else { return Ok(()) };
        let call = Call::post("sys/leases/renew", &Renew { lease_id: id }).with(&token.secret);
        let answer = match self.client.call(call).await {
            Ok(answer) => answer,
            Err(error) => {
                if matches!(error, VaultError::Refused { .. } | VaultError::Denied { .. }) {
                    // It cannot be renewed (any more): it is fetched anew before it ends.
                    lifetime.renewable = false;
                }
                return Err(error);
            }
        };
        let lasts = Duration::from_secs(answer.lease_duration);
        // As with tokens: less than half of what was given means that the end is near.
        let renewable = answer.renewable && lasts.saturating_mul(2) >= lifetime.lasts;
        *lifetime = Lifetime { from: now.monotonic, lasts, renewable };
        held.attempts = Attempts::default();
        stepped.happened.push(Happened::LeaseRenewed { path: request.path().to_owned() });
        Ok(())
    }

    /// Fetches a secret; what is made of it is rendered anew where it has changed.
    async fn fetch(&mut self, request: &Request, now: Now, stepped: &mut Stepped) -> Result<(), VaultError> {
        let Some(token) = &self.token else { return Ok(()) };
        let early = spread(self.options.refresh / 10, self.seed, 1);
        let refresh = self.options.refresh.saturating_sub(early);
        let (fields, term) = request.fetch(&self.client, &token.secret, now, refresh).await?;
        let changed = self.secrets.get(request).is_none_or(|held| held.fields != fields);
        stepped.happened.push(Happened::Fetched { path: request.path().to_owned(), changed });
        let attempts = Attempts { again: now.monotonic.saturating_add(SHORTEST), ..Attempts::default() };
        self.secrets.insert(request.clone(), Held { fields, term, attempts });
        if changed {
            for file in self.files.iter_mut().filter(|file| file.made_of.contains(request)) {
                file.rendered = None;
                file.placed = false;
            }
        }
        Ok(())
    }

    /// Renders what has to be. * returns: `false`: the token was found to be invalid.
    async fn render(&mut self, now: Now, stepped: &mut Stepped) -> bool {
        // What could not be had in this step: the same for all templates that need it.
        let mut failed: BTreeMap<Request, VaultError> = BTreeMap::new();
        for index in 0..self.files.len() {
            if self.files[index].rendered.is_some() {
                continue;
            }
            match self.render_one(index, now, stepped, &mut failed).await {
                Ok((rendered, made_of)) => {
                    let file = &mut self.files[index];
                    (file.rendered, file.made_of, file.placed) = (Some(rendered), made_of, false);
                    file.attempts = Attempts::default();
                }
                Err(VaultError::TokenInvalid { .. }) => return false,
                Err(error) => {
                    self.files[index].attempts.failed(&error, now.monotonic);
                    if !stepped.failures.contains(&error) {
                        stepped.failures.push(error);
                    }
                }
            }
        }
        // What no file is made of any more need not be kept fresh.
        if self.files.iter().all(|file| file.rendered.is_some()) {
            let used: BTreeSet<&Request> = self.files.iter().flat_map(|file| &file.made_of).collect();
            self.secrets.retain(|request, _| used.contains(request));
        }
        true
    }

    async fn render_one(
        &mut self,
        index: usize,
        now: Now,
        stepped: &mut Stepped,
        failed: &mut BTreeMap<Request, VaultError>,
    ) -> Result<(Rendered, BTreeSet<Request>), VaultError> {
        for _ in 0..=MOST_SECRETS {
            let known: Known = Arc::new(
                (self.secrets.iter().map(|(request, held)| (request.clone(), Ok(Arc::clone(&held.fields)))))
                    .chain(failed.iter().map(|(request, error)| (request.clone(), Err(error.clone()))))
                    .collect(),
            );
            let source = &self.files[index].source;
            match source.render(&known)? {
                Outcome::Done(contents, made_of) => {
                    let (destination, reload) = (source.of.destination.clone(), source.of.reload.clone());
                    return Ok((Rendered { destination, contents, reload }, made_of));
                }
                Outcome::Needs(request) => match self.fetch(&request, now, stepped).await {
                    Ok(()) => {}
                    Err(error @ VaultError::TokenInvalid { .. }) => return Err(error),
                    Err(error) => drop(failed.insert(request, error)),
                },
            }
        }
        let file = self.files[index].source.of.source.clone();
        Err(TemplateError::Endless { file, limit: MOST_SECRETS }.into())
    }
}

/// What is to be done about a secret that is held.
fn due(held: &Held, now: Duration, seed: u64) -> Renewal {
    match &held.term {
        Term::Open { again } if now < *again => Renewal::At(*again),
        Term::Open { .. } => Renewal::Replace,
        Term::Lease { lifetime, .. } | Term::Certificate { lifetime, .. } => {
            lifetime.next(now, held.attempts.failures, seed)
        }
    }
}
