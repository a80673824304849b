//! The pipeline that plans and applies Terraform, and the gate that judges the policies which a plan changes.

use crate::{Workspace, pipeline, stages};
use serde_json::json;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use tests::image::TREE;
use tests::programs::{autoscaler, on_path};

const STACK: &str = r#"terraform {
  required_version = ">= 1.5"
}

resource "terraform_data" "fleet" {
  input = file("${path.module}/web.hcl")
}

output "muster_policies" {
  value = { web = terraform_data.fleet.input }
}
"#;

fn policy(more: &str) -> String {
    format!("fleet \"web\" {{\n  id = \"sfr-73fbd2ce-aa30-494c-8788-1cee4b2ad1f5\"\n{more}}}\n")
}

#[test]
fn each_stage_of_terraforms_pipeline_does_its_part_and_bad_policies_are_refused() {
    let told = pipeline("terraform.Jenkinsfile");
    let mut workspace = Workspace::new();
    let terraform = on_path("terraform", "see fleet/terraform/README.md");
    let bin = workspace.place.path().join("bin");
    workspace.tool("terraform", &terraform);
    workspace.tool("muster-autoscaler", Path::new(autoscaler().get_program()));
    workspace.set("PATH", format!("{}:{}", bin.display(), tests::image::PATH));
    workspace.set("HOME", bin.parent().expect("a place"));
    for (name, value) in [
        ("STACK", "stack"),
        ("TRACE", "sample:taxi"),
        ("TF_IN_AUTOMATION", "1"),
        ("TF_INPUT", "0"),
        ("CHECKPOINT_DISABLE", "1"),
    ] {
        workspace.set(name, value);
    }
    let stack = workspace.root().join("stack");
    fs::create_dir(&stack).expect("made");
    fs::write(stack.join("main.tf"), STACK).expect("written");
    let put = |text: &str| fs::write(stack.join("web.hcl"), text).expect("written");
    put(&policy(""));
    let by_name: BTreeMap<String, String> = stages(&told).into_iter().collect();
    for (name, command) in stages(&told) {
        let (code, said) = workspace.run(&command);
        assert_eq!(code, Some(0), "{name}: {command}\n{said}");
        match name.as_str() {
            "Format" | "Init" | "Validate" => {}
            "Plan" => assert!(stack.join("plan.tfplan").is_file()),
            "Policies" => assert!(said.contains("policies changed: web") && said.contains(": ok"), "{said}"),
            "Apply" => assert!(stack.join("terraform.tfstate").is_file()),
            other => panic!("nobody says what the stage {other} is to do"),
        }
    }
    let gate = || {
        let (code, said) = workspace.run(&by_name["Plan"]);
        assert_eq!(code, Some(0), "{said}");
        workspace.run(&by_name["Policies"])
    };
    let (code, said) = gate();
    assert!(code == Some(0) && said.contains("policies changed: none"), "{said}");
    // Wrong, and too busy: the first is no policy, the second is one that nobody should have.
    put(&policy("  targt = 1\n"));
    let (code, said) = gate();
    assert!(code == Some(78), "{code:?} {said}");
    put(&policy("  target {\n    cpu = \"95%\"\n  }\n  objective {\n    above = \"100%\"\n  }\n"));
    let (code, said) = gate();
    assert!(code == Some(65) && said.contains("REFUSED"), "{code:?} {said}");
    let (code, said) = workspace.run(told["post"]["always"][0].as_str().expect("a command"));
    assert!(code == Some(0) && !stack.join("plan.tfplan").exists(), "{said}");
}

/// A plan may not know the policy of a fleet that is yet to be made; of one that is in force it has to.
#[test]
fn a_policy_in_force_is_not_changed_unjudged() {
    let mut workspace = Workspace::new();
    let bin = workspace.place.path().join("bin");
    workspace.set("PATH", format!("{}:{}", bin.display(), tests::image::PATH));
    let before = json!({ "web": policy("") });
    for (change, expected) in [
        (json!({ "before": before, "after": {}, "after_unknown": { "web": true } }), 65),
        (json!({ "before": before, "after": null, "after_unknown": true }), 65),
        (json!({ "before": before, "after": before, "after_unknown": { "batch": true } }), 0),
        (json!({ "before": null, "after": null, "after_unknown": true }), 0),
    ] {
        let plan = json!({ "output_changes": { "muster_policies": change } });
        workspace.script("terraform", &format!("#!/bin/sh\ncat <<'EOF'\n{plan}\nEOF\n"));
        let (code, said) = workspace.run("image/jenkins/gate stack plan.tfplan sample:taxi");
        assert!(code == Some(expected) && said.contains("not known before apply"), "{code:?} {said}");
    }
}

/// What is not there to be judged is not passed: the examples say their policies by the name that is asked for.
#[test]
fn a_plan_that_tells_of_no_policies_is_refused() {
    let mut workspace = Workspace::new();
    let bin = workspace.place.path().join("bin");
    workspace.set("PATH", format!("{}:{}", bin.display(), tests::image::PATH));
    let before = json!({ "web": policy("") });
    let gone = json!({ "actions": ["delete"], "before": before, "after": null, "after_unknown": false });
    let none = json!({ "actions": ["no-op"], "before": {}, "after": {}, "after_unknown": false });
    for (changes, expected) in [
        (json!({}), 65),
        (json!({ "policies": { "before": null, "after": before, "after_unknown": false } }), 65),
        (json!({ "muster_policies": gone }), 65),
        (json!({ "muster_policies": none }), 0),
    ] {
        let plan = json!({ "output_changes": changes });
        workspace.script("terraform", &format!("#!/bin/sh\ncat <<'EOF'\n{plan}\nEOF\n"));
        let (code, said) = workspace.run("image/jenkins/gate stack plan.tfplan sample:taxi");
        let refused = said.contains("stack has no output `muster_policies`");
        assert!(code == Some(expected) && refused == (expected == 65), "{changes}: {code:?} {said}");
    }
    for example in ["minimal", "complete"] {
        let file = format!("{TREE}/fleet/terraform/examples/{example}/outputs.tf");
        let outputs = fs::read_to_string(&file).expect("it is read");
        assert!(outputs.contains("output \"muster_policies\" {"), "{file}");
    }
}
