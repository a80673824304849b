use super::*;
use fleet::{AllocationStrategy, Backend, Market};
use fleet_sim::{Delay, World};
use std::time::Duration;

fn no_trace(_: &str) -> Result<Demand, String> {
    Err("could not be read: it is not there".to_owned())
}

fn decoded(text: &str) -> Result<WorldFile, String> {
    decode(&File::new("w.hcl", text), no_trace).map_err(|problems| problems.to_string())
}

#[test]
fn the_default_world_is_four_pools_of_three_families_and_a_fleet_in_service() {
    let file = decoded(DEFAULT).expect("the shipped world is sound");
    assert!(file.warnings.is_empty(), "{}", file.warnings);
    assert_eq!(file.spec.pools.len(), 4);
    let families: BTreeSet<_> = file.spec.pools.iter().map(|pool| pool.pool().family()).collect();
    assert_eq!(families.len(), 3);
    let world = World::new(file.spec, 1, Timestamp::EPOCH);
    let fleet = &world.fleets()[0].id;
    assert!(world.truth(fleet).expect("the fleet is there").in_service > 0);
}

#[test]
fn an_empty_file_is_a_world() {
    let file = decoded("").expect("sound");
    assert_eq!(file.spec.pools, WorldSpec::default().pools);
    assert_eq!(file.spec.zones, WorldSpec::default().zones);
    assert!(file.spec.first_address.is_loopback(), "instances speak from loopback");
}

#[test]
fn what_a_file_says_is_in_the_world() {
    let text = r#"
        region = "us-east-2"
        start  = "2026-03-02T00:00:00Z"
        pool "m6g.large/us-east-2a" {
          price  = "0.0385"
          depth  = 7
          window "dry" {
            from  = "1h"
            until = "2h"
          }
        }
        pool "c6g.large/us-east-2b/on-demand" {
          price = "0.068"
        }
        fleet "api" {
          id               = "fleet-0"
          backend          = "ec2_fleet"
          target           = 6
          on_demand_target = 2
          strategy         = "diversified"
          weights          = { "m6g.large" = 2, "c6g.large" = 1.5 }
          tags             = { service = "api" }
          load { demand = 4.5 }
        }
        timing {
          boot     = "75s"
          boot_p95 = "150s"
        }
        interrupt "one" {
          at    = "30m"
          pool  = "m6g.large/us-east-2a"
          count = 1
        }
    "#;
    let file = decoded(text).unwrap_or_else(|problems| panic!("{problems}"));
    let spec = &file.spec;
    assert_eq!(file.start, Timestamp::parse("2026-03-02T00:00:00Z").ok());
    assert_eq!(spec.zones, ["us-east-2a".into(), "us-east-2b".into()]);
    assert_eq!((spec.pools[0].depth, spec.pools[0].windows[0].until), (7, Duration::from_secs(7200)));
    assert_eq!(spec.pools[1].market, Market::OnDemand);
    let fleet = &spec.fleets[0];
    assert_eq!(fleet.id.as_ref().map(fleet::FleetId::as_str), Some("fleet-0"));
    assert_eq!(fleet.request.backend, Backend::Ec2Fleet);
    assert_eq!((fleet.initial, fleet.request.on_demand_target), (Some(6), 2));
    assert_eq!(fleet.request.strategy, AllocationStrategy::Diversified);
    assert_eq!(fleet.request.overrides.len(), 2);
    assert_eq!(fleet.request.tags["service"], "api");
    assert_eq!(fleet.request.tags["Name"], "api");
    assert_eq!(fleet.load.at(Duration::ZERO), 4.5);
    let lognormal = Delay::Lognormal { median: Duration::from_secs(75), p95: Duration::from_secs(150) };
    assert_eq!(spec.timing.boot, lognormal);
    assert_eq!(spec.interruptions.script[0].count, Some(1));
}

#[test]
fn everything_that_is_wrong_is_said_at_once_with_its_place() {
    let text = r#"region = "eu-west-1"
acount = "1"
pool "m5.large/us-east-1a" {
  price = "cheap"
}
pool "c5.large/eu-west-1b" {
  price = "0.1"
  window "dry" {
    from  = "2h"
    until = "1h"
  }
}
fleet "web" {
  id      = "fleet-1"
  weights = { "c5.larg" = 1 }
  load {
    demand = 1
    trace  = "day.csv"
  }
}
interrupt "x" {
  at   = "1h"
  pool = "r5.large/eu-west-1a"
}
"#;
    let problems = decoded(text).expect_err("wrong in many ways");
    let places: Vec<&str> = problems.lines().filter_map(|line| line.split(": ").next()).collect();
    let expected = [
        "w.hcl:2:1",
        "w.hcl:3:1",
        "w.hcl:4:11",
        "w.hcl:10:13",
        "w.hcl:14:13",
        "w.hcl:15:13",
        "w.hcl:18:14",
        "w.hcl:18:14",
        "w.hcl:23:10",
    ];
    assert_eq!(places, expected, "{problems}");
    assert!(problems.contains("account"), "the nearest known name: {problems}");
    assert!(problems.contains("c5.large"), "the nearest known type: {problems}");
}

#[test]
fn traces_are_read_from_beside_the_file_also_when_compressed() {
    use std::io::Write as _;
    let folder = tempfile::tempdir().expect("a folder");
    let trace = std::fs::File::create(folder.path().join("day.csv.gz")).expect("a file");
    let mut trace = flate2::write::GzEncoder::new(trace, flate2::Compression::fast());
    trace.write_all(b"seconds,demand\n0,1\n60,3\n").expect("written");
    trace.finish().expect("written");
    let path = folder.path().join("w.hcl");
    std::fs::write(&path, "fleet \"web\" {\n  load {\n    trace = \"day.csv.gz\"\n    scale = 2\n  }\n}\n")
        .expect("written");
    let world = read(&path).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(world.spec.fleets[0].load.at(Duration::from_secs(60)), 6.0);

    std::fs::write(folder.path().join("day.csv.gz"), b"not gzip").expect("written");
    let error = read(&path).expect_err("no trace").to_string();
    assert!(error.contains("w.hcl:3:13: fleet.web.load.trace"), "{error}");
}

#[test]
fn the_reference_is_what_the_table_says() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/world-reference.md");
    let written = std::fs::read_to_string(path).expect("the document");
    let regenerate = "docs/world-reference.md is not what the table says; cargo run -p fleet-cloud --example world_reference";
    assert_eq!(written, reference_markdown(), "{regenerate}");
}
