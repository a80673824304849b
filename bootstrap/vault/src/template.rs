//! Templates: MiniJinja, with the functions `secret` and `pki`.
//!
//! A template is rendered with what is known so far. A secret that it asks for and that is not known ends the
//! attempt; it is fetched, and the template is rendered again: so what depends on a secret's value is asked for with
//! that value, and nothing is asked for in a branch that is not taken.

use crate::answer::{Field, Fields};
use crate::request::Request;
use crate::wiped::Wiped;
use crate::{Destination, Template, VaultError};
use bootstrap_core::Secret;
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Enumerator, Kwargs, Object, ObjectExt as _, Value};
use minijinja::{Environment, Error, ErrorKind, UndefinedBehavior};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use zeroize::Zeroize as _;

/// The largest file that is made, and the largest template.
const MOST_BYTES: usize = 1024 * 1024;
/// What a template may do, in MiniJinja's instructions: a file of 1 MiB takes less.
const FUEL: u64 = 5_000_000;

/// Why a template gives no file. Holds names, never values.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// It cannot be read.
    #[error("{}: {why}", file.display())]
    Source {
        /// The template.
        file: PathBuf,
        /// The system's words.
        why: String,
    },
    /// It is none.
    #[error("{}:{line}: {why}", file.display())]
    Syntax {
        /// The template.
        file: PathBuf,
        /// From 1 on.
        line: usize,
        /// What is wrong.
        why: String,
    },
    /// The secret has no such field.
    #[error("{}:{line}: {path} has no field {field:?}; it has {}", file.display(), listed(known))]
    UnknownField {
        /// The template.
        file: PathBuf,
        /// From 1 on.
        line: usize,
        /// Where the secret is, with the fields that lead into it.
        path: String,
        /// The field that was asked for.
        field: String,
        /// The names of those that are there.
        known: Vec<String>,
    },
    /// It went wrong while it was rendered.
    #[error("{}:{line}: {why}", file.display())]
    Render {
        /// The template.
        file: PathBuf,
        /// From 1 on.
        line: usize,
        /// In MiniJinja's words, as far as they cannot hold a value.
        why: String,
    },
    /// It gives a file that is too large.
    #[error("{}: it makes more than {limit} bytes", file.display())]
    TooLarge {
        /// The template.
        file: PathBuf,
        /// The most.
        limit: usize,
    },
    /// It asks for more and more.
    #[error("{}: it asks for more than {limit} secrets", file.display())]
    Endless {
        /// The template.
        file: PathBuf,
        /// The most.
        limit: usize,
    },
}

fn listed(names: &[String]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

/// A file, as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rendered {
    /// Where it belongs.
    pub destination: Destination,
    /// What is in it.
    pub contents: Secret,
    /// The units to reload when its contents are new.
    pub reload: Vec<String>,
}

/// A template with its text.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    pub(crate) of: Template,
    text: String,
}

/// What is known of the secrets that were asked for.
pub(crate) type Known = Arc<BTreeMap<Request, Result<Fields, VaultError>>>;

/// What an attempt to render came to.
pub(crate) enum Outcome {
    /// The file, and what it is made of.
    Done(Secret, BTreeSet<Request>),
    /// A secret is not known yet.
    Needs(Request),
}

impl Source {
    pub(crate) fn read(of: &Template) -> Result<Self, TemplateError> {
        let wrong = |why: String| TemplateError::Source { file: of.source.clone(), why };
        let metadata = std::fs::metadata(&of.source).map_err(|error| wrong(error.to_string()))?;
        if metadata.len() > MOST_BYTES as u64 {
            return Err(wrong(format!("it is larger than {MOST_BYTES} bytes")));
        }
        let text = std::fs::read_to_string(&of.source).map_err(|error| wrong(error.to_string()))?;
        let source = Self { of: of.clone(), text };
        source.check()?;
        Ok(source)
    }

    fn file(&self) -> &Path {
        &self.of.source
    }

    /// Whether it is a template at all.
    fn check(&self) -> Result<(), TemplateError> {
        let environment = environment();
        let parsed = environment.template_from_named_str("template", &self.text);
        parsed.map(drop).map_err(|error| self.error(&error, None))
    }

    /// Renders it with what is known.
    pub(crate) fn render(&self, known: &Known) -> Result<Outcome, VaultError> {
        let notes = Notes::default();
        let mut environment = environment();
        let (notes_of_secret, notes_of_pki) = (notes.clone(), notes.clone());
        let (known_to_secret, known_to_pki) = (Arc::clone(known), Arc::clone(known));
        environment.add_function("secret", move |path: String, arguments: Kwargs| {
            notes_of_secret.answer(&known_to_secret, Request::read(&path, texts(&arguments)?))
        });
        environment.add_function("pki", move |path: String, arguments: Kwargs| {
            notes_of_pki.answer(&known_to_pki, Request::issue(&path, texts(&arguments)?))
        });
        let template = environment.template_from_named_str("template", &self.text);
        let template = template.map_err(|error| self.error(&error, None))?;
        let mut contents = Wiped::new(MOST_BYTES);
        let rendered = template.render_captured_to((), &mut contents).map(drop);
        let Noted { needs, failure, missed, used } = std::mem::take(&mut *notes.locked());
        if let Some(needs) = needs {
            return Ok(Outcome::Needs(needs));
        }
        if let Some(failure) = failure {
            return Err(failure);
        }
        if let Err(error) = rendered {
            if error.kind() == ErrorKind::WriteFailure && contents.as_slice().len() > MOST_BYTES / 2 {
                return Err(
                    TemplateError::TooLarge { file: self.file().to_owned(), limit: MOST_BYTES }.into()
                );
            }
            return Err(self.error(&error, missed).into());
        }
        // The bytes move into the text, and are wiped with it.
        let bytes = std::mem::take(&mut *contents.into_inner());
        match String::from_utf8(bytes) {
            Ok(text) => Ok(Outcome::Done(Secret::new(text), used)),
            Err(error) => {
                error.into_bytes().zeroize();
                let why = "it makes something else than text".to_owned();
                Err(TemplateError::Render { file: self.file().to_owned(), line: 0, why }.into())
            }
        }
    }

    /// MiniJinja's error, without what may be a value.
    fn error(&self, error: &Error, missed: Option<Missed>) -> TemplateError {
        let (file, line) = (self.file().to_owned(), error.line().unwrap_or(0));
        match (error.kind(), missed) {
            (ErrorKind::UndefinedError, Some(Missed { path, field, known })) => {
                TemplateError::UnknownField { file, line, path, field, known }
            }
            (ErrorKind::SyntaxError, _) => TemplateError::Syntax { file, line, why: with_detail(error) },
            // Their details are names of the template's own.
            (
                ErrorKind::UnknownFilter
                | ErrorKind::UnknownFunction
                | ErrorKind::UnknownTest
                | ErrorKind::UnknownMethod
                | ErrorKind::MissingArgument
                | ErrorKind::TooManyArguments,
                _,
            ) => TemplateError::Render { file, line, why: with_detail(error) },
            (ErrorKind::WriteFailure, _) => {
                let why = "a whole secret cannot be printed, only its fields".to_owned();
                TemplateError::Render { file, line, why }
            }
            (kind, _) => TemplateError::Render { file, line, why: kind.to_string() },
        }
    }
}

fn with_detail(error: &Error) -> String {
    let kind = error.kind().to_string();
    match error.detail() {
        Some(detail) => format!("{kind}: {detail}").chars().take(512).collect(),
        None => kind,
    }
}

/// As Ansible has it: the newline after a block goes, the one at the end of the file stays.
fn environment<'a>() -> Environment<'a> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
    // Only delimiters that clash are an error.
    if let Ok(syntax) = SyntaxConfig::builder().trim_blocks(true).keep_trailing_newline(true).build() {
        environment.set_syntax(syntax);
    }
    environment.set_fuel(Some(FUEL));
    environment
}

/// Named arguments as texts, the only form that Vault needs: it reads numbers and lists from them.
fn texts(arguments: &Kwargs) -> Result<BTreeMap<String, String>, Error> {
    let mut texts = BTreeMap::new();
    for name in arguments.args() {
        let value: Value = arguments.get(name)?;
        let text = match value.try_iter() {
            Ok(items) if value.as_str().is_none() => {
                items.map(|item| item.to_string()).collect::<Vec<_>>().join(",")
            }
            _ => value.to_string(),
        };
        texts.insert(name.to_owned(), text);
    }
    Ok(texts)
}

/// What happened while a template was rendered, beside its text.
#[derive(Clone, Default)]
struct Notes(Arc<Mutex<Noted>>);

#[derive(Default)]
struct Noted {
    /// What is not known yet.
    needs: Option<Request>,
    /// Why something that is needed cannot be had.
    failure: Option<VaultError>,
    /// The last field that was asked for in vain: no error by itself, since it may be tested for.
    missed: Option<Missed>,
    used: BTreeSet<Request>,
}

struct Missed {
    path: String,
    field: String,
    known: Vec<String>,
}

impl Notes {
    fn locked(&self) -> MutexGuard<'_, Noted> {
        // A panic elsewhere leaves nothing half done in here.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer(&self, known: &Known, request: Request) -> Result<Value, Error> {
        let mut noted = self.locked();
        let found = known.get(&request);
        let path = request.path().to_owned();
        match found {
            Some(Ok(fields)) => {
                noted.used.insert(request);
                Ok(Value::from_object(Shown { path, fields: Arc::clone(fields), notes: self.clone() }))
            }
            Some(Err(error)) => {
                noted.failure = Some(error.clone());
                Err(Error::new(ErrorKind::InvalidOperation, "it cannot be had"))
            }
            None => {
                noted.needs = Some(request);
                Err(Error::new(ErrorKind::InvalidOperation, "it is not known yet"))
            }
        }
    }
}

/// A secret as a template sees it. It shows nothing of itself but its fields.
struct Shown {
    path: String,
    fields: Fields,
    notes: Notes,
}

impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

impl Shown {
    fn value(&self, name: &str, field: &Field) -> Value {
        match field {
            Field::Null => Value::from(()),
            Field::Flag(flag) => Value::from(*flag),
            Field::Number(number) => number
                .as_i64()
                .map(Value::from)
                .or_else(|| number.as_u64().map(Value::from))
                .or_else(|| number.as_f64().map(Value::from))
                .unwrap_or_default(),
            Field::Text(text) => Value::from(text.expose()),
            Field::List(items) => items.iter().map(|item| self.value(name, item)).collect(),
            Field::Map(fields) => Value::from_object(Self {
                path: format!("{}.{name}", self.path),
                fields: Arc::clone(fields),
                notes: self.notes.clone(),
            }),
        }
    }
}

impl Object for Shown {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let name = key.as_str()?;
        if let Some(field) = self.fields.get(name) {
            return Some(self.value(name, field));
        }
        self.notes.locked().missed = Some(Missed {
            path: self.path.clone(),
            field: name.to_owned(),
            known: self.fields.keys().cloned().collect(),
        });
        None
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        self.mapped_enumerator(|this| Box::new(this.fields.keys().map(|name| Value::from(name.as_str()))))
    }

    /// Not as a whole: that would be Rust's notation, which no program reads.
    fn render(self: &Arc<Self>, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        Err(fmt::Error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(entries: &[(&str, &str)]) -> Known {
        let read =
            |body: &str| serde_json::from_str::<Field>(body).expect("JSON").as_map().cloned().expect("a map");
        Arc::new(
            entries
                .iter()
                .map(|(path, body)| (Request::read(path, BTreeMap::new()), Ok(read(body))))
                .collect(),
        )
    }

    fn source(text: &str) -> Source {
        let destination = Destination::private("/run/x");
        let of = Template { source: "x.tmpl".into(), destination, reload: Vec::new(), remove_at_stop: false };
        Source { of, text: text.to_owned() }
    }

    fn rendered(text: &str, known: &Known) -> Result<String, String> {
        match source(text).render(known) {
            Ok(Outcome::Done(secret, _)) => Ok(secret.expose().to_owned()),
            Ok(Outcome::Needs(request)) => Err(format!("needs {}", request.path())),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn fields_are_printed_and_what_is_not_known_is_asked_for() {
        let known = known(&[("kv/data/web", r#"{"user":"w","port":5432,"tls":true,"of":{"a":["x","y"]}}"#)]);
        let check =
            |text: &str, expect: &str| assert_eq!(rendered(text, &known).as_deref(), Ok(expect), "{text}");
        check("{{ secret('kv/data/web').user }}:{{ secret('kv/data/web').port }}\n", "w:5432\n");
        check(
            "{% set s = secret('kv/data/web') %}\n{% if s.tls %}\nuser={{ s.user }}\n{% endif %}\n",
            "user=w\n",
        );
        check("{{ secret('kv/data/web').of.a | join(',') }}", "x,y");
        check("{{ secret('kv/data/web').none | default('-') }}", "-");
        check("{% for name in secret('kv/data/web') %}{{ name }} {% endfor %}", "of port tls user ");
        check("<{{ secret('kv/data/web').user }}>&", "<w>&");
        let other = "{% if secret('kv/data/web').tls %}{{ secret('kv/data/' ~ secret('kv/data/web').user).x }}{% endif %}";
        assert_eq!(rendered(other, &known), Err("needs kv/data/w".into()));
        let untaken = "{% if not secret('kv/data/web').tls %}{{ secret('kv/data/no').x }}{% endif %}";
        assert_eq!(rendered(untaken, &known).as_deref(), Ok(""));
    }

    #[test]
    fn errors_name_the_line_and_the_names_that_are_there_but_no_value() {
        let known = known(&[("kv/data/web", r#"{"user":"planted","of":{"b":"planted"}}"#)]);
        let check = |text: &str, expect: &str| {
            let error = rendered(text, &known).expect_err(text);
            assert!(error.contains(expect) && !error.contains("planted"), "{text}: {error}");
        };
        check(
            "\n{{ secret('kv/data/web').pass }}",
            "x.tmpl:2: kv/data/web has no field \"pass\"; it has of, user",
        );
        check("{{ secret('kv/data/web').of.c }}", "kv/data/web.of has no field \"c\"; it has b");
        check("{{ secret('kv/data/web') }}", "a whole secret cannot be printed");
        check("{{ secret('kv/data/web').user + 1 }}", "x.tmpl:1: invalid operation");
        check("{{ secret('kv/data/web').user | int }}", "x.tmpl:1: ");
        check("{{ secret('kv/data/web').user | nope }}", "unknown filter");
        check("{{ secret() }}", "missing argument");
        check("{{ user }}", "undefined value");
        check("{% for n in range(100000000) %}x{% endfor %}", "x.tmpl:1: ");
        check("a\n{% if", "x.tmpl:2: syntax error");
    }

    #[test]
    fn a_file_has_its_bounds() {
        let known = known(&[("kv/data/web", r#"{"user":"w"}"#)]);
        let text = "{% for n in range(2000) %}{{ 'x' * 1000 }}{% endfor %}";
        let error = rendered(text, &known).expect_err("two megabytes");
        assert!(error.contains("more than 1048576 bytes"), "{error}");
    }
}
