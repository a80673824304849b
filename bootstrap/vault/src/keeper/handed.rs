//! What is handed out to whoever may write as another user: files of an owner of their own, the token's among them.

use super::{Keeper, Stepped};
use crate::place;
use crate::template::Rendered;
use crate::{Destination, VaultError};
use bootstrap_core::Now;

impl Keeper {
    /// The token as a file of somebody else's; `None` where there is none, or it is ours to write.
    fn token_of_another(&self) -> Option<Rendered> {
        let destination = self.options.token_file.clone().filter(Destination::is_of_another)?;
        let contents = self.token.as_ref()?.secret.clone();
        Some(Rendered { destination, contents, reload: Vec::new() })
    }

    /// Writes the token's file where that is due, or hands it out.
    pub(super) fn keep_token_file(&mut self, now: Now, stepped: &mut Stepped) {
        let (Some(token), true) = (&self.token, self.token_due) else { return };
        let Some(to) = &self.options.token_file else {
            self.token_due = false;
            return;
        };
        let written = if to.is_of_another() {
            let fits = place::in_memory_if_asked(to);
            stepped.rendered.extend(self.token_of_another().filter(|_| fits.is_ok()));
            fits.map(|()| false)
        } else {
            place::write(to, &token.secret).map(|_| true)
        };
        match written {
            Ok(is_written) => self.token_due = !is_written,
            Err(error) => {
                let error = error.into();
                self.login.failed(&error, now.monotonic);
                stepped.failures.push(error);
            }
        }
    }

    /// That a file is in its place.
    pub fn placed(&mut self, rendered: &Rendered) {
        if self.token_of_another().as_ref() == Some(rendered) {
            self.token_due = false;
        }
        for file in &mut self.files {
            // Another form may have come in between.
            if file.rendered.as_ref() == Some(rendered) {
                file.placed = true;
                file.attempts = super::Attempts::default();
            }
        }
    }

    /// That a file could not be put in its place; it is given again after a pause.
    pub fn not_placed(&mut self, rendered: &Rendered, error: &VaultError, now: std::time::Duration) {
        if self.token_of_another().as_ref() == Some(rendered) {
            self.login.failed(error, now);
        }
        for file in self.files.iter_mut().filter(|file| file.rendered.as_ref() == Some(rendered)) {
            file.attempts.failed(error, now);
        }
    }

    /// What was handed out and is in its place, as far as is known: whoever may look whether it still is says [`Keeper::lost`].
    pub fn handed_out(&self) -> Vec<Rendered> {
        let files = self.files.iter().filter(|file| file.placed).filter_map(|file| file.rendered.clone());
        let token = self.token_of_another().filter(|_| !self.token_due);
        files.filter(|of| of.destination.is_of_another()).chain(token).collect()
    }

    /// That a file is not as it was placed: it is given again by the next step.
    pub fn lost(&mut self, rendered: &Rendered) {
        self.token_due |= self.token_of_another().as_ref() == Some(rendered);
        for file in self.files.iter_mut().filter(|file| file.rendered.as_ref() == Some(rendered)) {
            file.placed = false;
        }
    }
}
