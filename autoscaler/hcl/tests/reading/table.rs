//! A table with a field and a block of every kind.

use muster_hcl::{Field, Repeated, Section, Table, Wrong};
use std::collections::BTreeMap;
use std::time::Duration;

#[derive(Debug, PartialEq)]
pub struct Server {
    pub open: bool,
    pub port: u32,
    pub ratio: f64,
    pub share: f64,
    pub wait: Option<Duration>,
    pub mode: &'static str,
    pub name: Option<String>,
    pub tags: Vec<String>,
    pub labels: BTreeMap<String, String>,
    pub sizes: BTreeMap<String, f64>,
    pub limits: Limits,
    pub store: Option<Limits>,
    pub routes: Vec<Route>,
}

#[derive(Debug, Default, PartialEq)]
pub struct Limits {
    pub low: u32,
    pub high: u32,
}

#[derive(Debug, Default, PartialEq)]
pub struct Route {
    pub label: String,
    pub to: String,
}

const HOUR: Duration = Duration::from_secs(3600);

pub static LIMITS: Table<Limits> = Table {
    fields: &[
        Field::whole("low", "The least.", (0, 100), |l| Some(l.low), |l, v| l.low = v),
        Field::whole("high", "The most.", (0, 100), |l| Some(l.high), |l, v| l.high = v),
    ],
    blocks: &[],
};

pub static ROUTE: Table<Route> = Table {
    fields: &[Field::<Route>::text(
        "to",
        "Where it leads.",
        "a path such as \"/home\"",
        |r| Some(r.to.clone()).filter(|to| !to.is_empty()),
        |r, text| {
            text.clone_into(&mut r.to);
            if text.starts_with('/') { Ok(()) } else { Err(Wrong::new("does not begin with `/`")) }
        },
    )
    .required()
    .example("\"/home\"")],
    blocks: &[],
};

pub static SERVER: Table<Server> = Table {
    fields: &[
        Field::flag("open", "Whether it is open.", |s| Some(s.open), |s, v| s.open = v),
        Field::whole("port", "Where it listens.", (1, 65535), |s| Some(s.port), |s, v| s.port = v),
        Field::number("ratio", "A ratio.", (0.5, 2.0), |s| Some(s.ratio), |s, v| s.ratio = v),
        Field::share("share", "A share.", (0.01, 0.99), |s| Some(s.share), |s, v| s.share = v),
        Field::<Server>::duration(
            "wait",
            "A wait.",
            (Duration::ZERO, HOUR),
            |s| s.wait,
            |s, v| s.wait = Some(v),
        )
        .unset("no end")
        .example("\"5m\""),
        Field::choice(
            "mode",
            "How it runs.",
            &["fast", "slow"],
            |s| Some(s.mode),
            |s, v| s.mode = if v == "fast" { "fast" } else { "slow" },
        ),
        Field::text(
            "name",
            "A name.",
            "a name",
            |s| s.name.clone(),
            |s, v| {
                s.name = Some(v.to_owned());
                Ok(())
            },
        ),
        Field::texts(
            "tags",
            "Tags.",
            "words such as \"a\"",
            |s| s.tags.clone(),
            |s, v| {
                s.tags.push(v.to_owned());
                if v.contains(' ') { Err(Wrong::new("has a space")) } else { Ok(()) }
            },
        ),
        Field::text_map(
            "labels",
            "Labels.",
            "names to texts",
            |s| s.labels.clone().into_iter().collect(),
            |s, k, v| {
                s.labels.insert(k.to_owned(), v.to_owned());
                Ok(())
            },
        ),
        Field::number_map(
            "sizes",
            "Sizes.",
            "types to sizes",
            (0.1, 10.0),
            |s| s.sizes.clone().into_iter().collect(),
            |s, k, v| {
                s.sizes.insert(k.to_owned(), v);
                Ok(())
            },
        ),
    ],
    blocks: &[
        &Section {
            name: "limits",
            label: None,
            docs: "Limits.",
            table: &LIMITS,
            get: |s: &Server| Some(&s.limits),
            open: |s| &mut s.limits,
            default: Limits::default,
        },
        &Section {
            name: "store",
            label: Some("disk"),
            docs: "A disk.",
            table: &LIMITS,
            get: |s: &Server| s.store.as_ref(),
            open: |s| s.store.get_or_insert_default(),
            default: Limits::default,
        },
        &Repeated {
            name: "route",
            label: "a word of lowercase letters",
            check: |label| {
                let fine = !label.is_empty() && label.bytes().all(|b| b.is_ascii_lowercase());
                if fine { Ok(()) } else { Err(Wrong::new("has other signs")) }
            },
            example: "home",
            docs: "A route.",
            table: &ROUTE,
            new: |label| Route { label: label.to_owned(), to: String::new() },
            push: |s: &mut Server, route| s.routes.push(route),
            items: |s| &s.routes,
            label_of: |route| &route.label,
        },
    ],
};

pub fn default() -> Server {
    Server {
        open: true,
        port: 80,
        ratio: 1.0,
        share: 0.5,
        wait: None,
        mode: "fast",
        name: None,
        tags: Vec::new(),
        labels: BTreeMap::new(),
        sizes: BTreeMap::new(),
        limits: Limits { low: 1, high: 9 },
        store: None,
        routes: Vec::new(),
    }
}
