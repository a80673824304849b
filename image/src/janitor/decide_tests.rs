use super::*;
use fleet_aws::{Launches, Referred, TemplateSeen};

const DAY: Duration = Duration::from_secs(86_400);

fn now() -> Timestamp {
    Timestamp::from_secs(1_800_000_000)
}

fn days(count: u32) -> Duration {
    DAY * count
}

/// An image of so many days, deprecated since so many.
fn image(id: &str, age: u32, deprecated: Option<u32>) -> Image {
    Image {
        id: id.to_owned(),
        name: format!("name of {id}"),
        owner: "123456789012".to_owned(),
        available: true,
        created: now() - days(age),
        architecture: "x86_64".to_owned(),
        snapshots: vec![format!("snap-of-{id}")],
        deprecated: deprecated.map(|since| now() - days(since)),
        tags: BTreeMap::from([(KIND.to_owned(), "node".to_owned())]),
    }
}

/// Nothing is kept for being new.
fn rules() -> Rules {
    Rules { newest: 0, ..Rules::default() }
}

fn verdict(inventory: &Inventory, rules: &Rules) -> Verdict {
    let plan = decide(inventory, rules, now());
    plan.images.into_iter().find(|decision| decision.image == "ami-a").expect("decided").verdict
}

fn of(image: Image) -> Inventory {
    Inventory { images: vec![image], ..Inventory::default() }
}

fn removed(deprecated: u32) -> Verdict {
    Verdict::Remove { deprecated: days(deprecated), snapshots: vec!["snap-of-ami-a".into()] }
}

#[test]
fn what_nothing_needs_goes_by_its_age() {
    let keep = |why: Keep| Verdict::Keep { why: vec![why] };
    for (age, deprecated, expected) in [
        (0, None, keep(Keep::Young { left: days(30) })),
        (29, None, keep(Keep::Young { left: days(1) })),
        (30, None, Verdict::Deprecate { age: days(30) }),
        (400, None, Verdict::Deprecate { age: days(400) }),
        // Somebody else has deprecated it, early.
        (5, Some(0), keep(Keep::Waits { left: days(14) })),
        (60, Some(13), keep(Keep::Waits { left: days(1) })),
        (60, Some(14), removed(14)),
        (90, Some(60), removed(60)),
    ] {
        assert_eq!(verdict(&of(image("ami-a", age, deprecated)), &rules()), expected, "{age} {deprecated:?}");
    }
    // A deprecation that lies ahead is none yet.
    let ahead = Image { deprecated: Some(now() + days(60)), ..image("ami-a", 20, None) };
    assert_eq!(verdict(&of(ahead), &rules()), keep(Keep::Young { left: days(10) }));
}

#[test]
fn whatever_refers_to_an_image_keeps_it_and_says_so() {
    let instance = |state: &str| Reference::Instance { id: "i-1".into(), state: state.into() };
    for (by, expected) in [
        (instance("running"), Keep::Instance { id: "i-1".into(), state: "running".into() }),
        (instance("stopped"), Keep::Instance { id: "i-1".into(), state: "stopped".into() }),
        // Of a template that was not listed nothing is known.
        (
            Reference::Template { id: "lt-1".into(), version: 3 },
            Keep::Template { id: "lt-1".into(), version: 3, standing: Standing::Unknown },
        ),
        (Reference::Fleet { id: "sfr-1".into() }, Keep::Fleet { id: "sfr-1".into() }),
    ] {
        let mut inventory = of(image("ami-a", 99, Some(60)));
        inventory.references.named = vec![Referred { by: by.clone(), to: "ami-a".into() }];
        assert_eq!(verdict(&inventory, &rules()), Verdict::Keep { why: vec![expected] });
        // What refers to another image does not keep this one.
        inventory.references.named = vec![Referred { by, to: "ami-b".into() }];
        assert_eq!(verdict(&inventory, &rules()), removed(60));
    }
}

/// A template of the versions 1 to 9, the second its default, whose version `named` names the image; and who launches what of it.
fn with_template(named: i64, launches: &[(&str, Option<&str>)]) -> Inventory {
    let mut inventory = of(image("ami-a", 99, Some(60)));
    let template =
        TemplateSeen { name: "web".into(), default: Some(2), versions: (1..=9).collect(), of_a_group: false };
    let launch = |(template, version): &(&str, Option<&str>)| Launches {
        fleet: "sfr-1".into(),
        template: (*template).into(),
        version: version.map(str::to_owned),
    };
    inventory.references = References {
        named: vec![Referred {
            by: Reference::Template { id: "lt-1".into(), version: named },
            to: "ami-a".into(),
        }],
        templates: BTreeMap::from([("lt-1".to_owned(), template)]),
        launches: launches.iter().map(launch).collect(),
    };
    inventory
}

#[test]
fn of_a_templates_versions_the_launched_the_default_and_the_newest_keep_their_images() {
    let launched = || Some(Standing::Launched { fleet: "sfr-1".into() });
    let newest = |place| Some(Standing::Newest { place });
    let unknown = || Some(Standing::Unknown);
    let at = |version| [("lt-1", Some(version))];
    for (version, launches, expected) in [
        (9, &at("9")[..], launched()),
        (9, &at("8"), newest(1)),
        (5, &at("9"), newest(5)),
        (4, &at("9"), None),
        (1, &at("9"), None),
        (2, &at("9"), Some(Standing::Default)),
        (4, &at("4"), launched()),
        (9, &at("$Latest"), launched()),
        (4, &at("$Latest"), None),
        (2, &at("$Default"), launched()),
        (1, &at("$Default"), None),
        // By its name, and beside another fleet.
        (4, &[("web", Some("4"))], launched()),
        (4, &[("lt-1", Some("9")), ("web", Some("4"))], launched()),
        (3, &[("lt-1", Some("9")), ("web", Some("4"))], None),
        // What cannot be told keeps all.
        (4, &[], unknown()),
        (4, &[("lt-2", Some("4"))], unknown()),
        (4, &[("lt-1", None)], unknown()),
        (4, &[("lt-1", Some("9")), ("lt-1", Some("$Newest"))], unknown()),
    ] {
        let expected = expected.map_or(removed(60), |standing| Verdict::Keep {
            why: vec![Keep::Template { id: "lt-1".into(), version, standing }],
        });
        assert_eq!(verdict(&with_template(version, launches), &rules()), expected, "{version} {launches:?}");
    }
    // As many as is wished.
    let inventory = with_template(4, &at("9"));
    assert!(matches!(verdict(&inventory, &Rules { template_versions: 6, ..rules() }), Verdict::Keep { .. }));
    // Deleted versions take no place among the newest.
    let mut inventory = with_template(4, &at("9"));
    let template = inventory.references.templates.get_mut("lt-1").expect("it is there");
    template.versions.retain(|version| ![6, 7].contains(version));
    assert!(matches!(verdict(&inventory, &rules()), Verdict::Keep { .. }));
}

#[test]
fn a_template_that_a_group_launches_or_that_hides_its_default_keeps_the_images_of_all_versions() {
    let hide: [fn(&mut TemplateSeen); 2] =
        [|template| template.of_a_group = true, |template| template.default = None];
    for hide in hide {
        let mut inventory = with_template(4, &[("lt-1", Some("9"))]);
        assert_eq!(verdict(&inventory, &rules()), removed(60));
        hide(inventory.references.templates.get_mut("lt-1").expect("it is there"));
        let standing = Standing::Unknown;
        let why = vec![Keep::Template { id: "lt-1".into(), version: 4, standing }];
        assert_eq!(verdict(&inventory, &rules()), Verdict::Keep { why });
    }
}

#[test]
fn channels_keep_what_they_are_at_and_what_they_can_go_back_to() {
    let seen = |parameter: Option<&str>, history: &[&str]| {
        let history = history.iter().map(|one| (*one).to_owned()).collect();
        ChannelSeen { parameter: parameter.map(str::to_owned), history }
    };
    let channel = Keep::Channel { name: "stable".into() };
    let history = |back| Keep::History { name: "stable".into(), back };
    for (seen, expected) in [
        (seen(Some("ami-a"), &["ami-a"]), Some(channel.clone())),
        // The parameter is behind the journal, or was set by hand: both count.
        (seen(Some("ami-a"), &["ami-b"]), Some(channel.clone())),
        (seen(Some("ami-b"), &["ami-a"]), Some(channel.clone())),
        (seen(None, &["ami-a"]), Some(channel)),
        (seen(Some("ami-b"), &["ami-b", "ami-a"]), Some(history(1))),
        (seen(Some("ami-b"), &["ami-b", "c", "d", "e", "ami-a"]), Some(history(4))),
        (seen(Some("ami-b"), &["ami-b", "c", "d", "e", "f", "ami-a"]), None),
        (seen(None, &[]), None),
    ] {
        let mut inventory = of(image("ami-a", 99, Some(60)));
        inventory.channels = BTreeMap::from([("stable".to_owned(), seen.clone())]);
        let expected = expected.map_or(removed(60), |keep| Verdict::Keep { why: vec![keep] });
        assert_eq!(verdict(&inventory, &rules()), expected, "{seen:?}");
    }
}

#[test]
fn the_newest_of_each_kind_and_architecture_stay() {
    let tagged = |id: &str, age: u32, kind: &str, architecture: &str| Image {
        tags: BTreeMap::from([(KIND.to_owned(), kind.to_owned())]),
        architecture: architecture.to_owned(),
        ..image(id, age, Some(50))
    };
    let images = vec![
        tagged("ami-a", 64, "node", "x86_64"),
        tagged("ami-b", 61, "node", "x86_64"),
        tagged("ami-c", 62, "node", "x86_64"),
        tagged("ami-d", 90, "node", "arm64"),
        tagged("ami-e", 91, "base", "x86_64"),
        // One that is not there yet takes no place.
        Image { available: false, ..tagged("ami-f", 0, "node", "x86_64") },
    ];
    let inventory = Inventory { images, ..Inventory::default() };
    let plan = decide(&inventory, &Rules { newest: 2, ..Rules::default() }, now());
    let places: Vec<(&str, Option<&Keep>)> = plan
        .images
        .iter()
        .map(|decision| match &decision.verdict {
            Verdict::Keep { why } => (decision.image.as_str(), why.first()),
            _ => (decision.image.as_str(), None),
        })
        .collect();
    let place = |place| Keep::Newest { place };
    assert_eq!(
        places,
        [
            ("ami-a", None),
            ("ami-b", Some(&place(1))),
            ("ami-c", Some(&place(2))),
            ("ami-d", Some(&place(1))),
            ("ami-e", Some(&place(1))),
            ("ami-f", Some(&Keep::NotAvailable)),
        ]
    );
}

#[test]
fn nothing_of_another_account_goes_nor_what_others_may_launch() {
    let foreign = Image { owner: "210987654321".to_owned(), ..image("ami-a", 99, Some(60)) };
    let inventory = Inventory { account: Some("123456789012".to_owned()), ..of(foreign) };
    let owner = "210987654321".to_owned();
    assert_eq!(verdict(&inventory, &rules()), Verdict::Keep { why: vec![Keep::Foreign { owner }] });

    let accounts = BTreeSet::from(["210987654321".to_owned()]);
    let shared = BTreeMap::from([("ami-a".to_owned(), accounts)]);
    let inventory = Inventory { shared, ..of(image("ami-a", 99, Some(60))) };
    assert_eq!(verdict(&inventory, &rules()), Verdict::Keep { why: vec![Keep::Shared { accounts: 1 }] });
    assert_eq!(verdict(&inventory, &Rules { shared_too: true, ..rules() }), removed(60));
}

#[test]
fn a_snapshot_that_two_images_are_made_of_goes_with_the_last() {
    let twin = Image { snapshots: vec!["snap-of-ami-a".to_owned()], ..image("ami-b", 99, None) };
    let mut inventory =
        Inventory { images: vec![image("ami-a", 99, Some(60)), twin], ..Inventory::default() };
    assert_eq!(
        verdict(&inventory, &rules()),
        Verdict::Remove { deprecated: days(60), snapshots: Vec::new() }
    );
    inventory.images[1].deprecated = Some(now() - days(60));
    assert_eq!(verdict(&inventory, &rules()), removed(60));
}

#[test]
fn snapshots_without_an_image_go_when_they_are_old() {
    let snapshot = |id: &str, age: u32| Snapshot {
        id: id.to_owned(),
        started: now() - days(age),
        tags: BTreeMap::new(),
    };
    let snapshots = vec![snapshot("snap-2", 14), snapshot("snap-1", 3), snapshot("snap-of-ami-a", 99)];
    let inventory = Inventory { snapshots, ..of(image("ami-a", 3, None)) };
    let plan = decide(&inventory, &rules(), now());
    let decided = |snapshot: &str, keep| SnapshotDecision { snapshot: snapshot.to_owned(), keep };
    let young = Some(SnapshotKeep::Young { left: days(11) });
    assert_eq!(plan.snapshots, [decided("snap-1", young), decided("snap-2", None)]);
}

#[test]
fn all_reasons_are_told_at_once() {
    let mut inventory = of(image("ami-a", 99, Some(60)));
    inventory.references.named = vec![
        Referred {
            by: Reference::Instance { id: "i-1".into(), state: "running".into() },
            to: "ami-a".into(),
        },
        Referred { by: Reference::Template { id: "lt-1".into(), version: 1 }, to: "ami-a".into() },
    ];
    let Verdict::Keep { why } = verdict(&inventory, &Rules::default()) else { panic!("it stays") };
    let words: Vec<String> = why.iter().map(ToString::to_string).collect();
    assert_eq!(
        words,
        [
            "instance i-1 is running",
            "launch template lt-1 names it in version 1 (who launches which version is not known)",
            "is number 1 of the newest"
        ]
    );
}
