//! Writes what is generated from the tables of policies: the reference documentation, the example file, and the
//! expected texts of the golden tests. `cargo run -p autoscaler-policy --example policy_reference`, then read the diff.

use std::path::Path;

#[path = "../tests/golden.rs"]
mod golden;

fn main() -> std::io::Result<()> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    std::fs::write(here.join("../../docs/policy-reference.md"), autoscaler_policy::reference_markdown())?;
    std::fs::write(here.join("examples/full.hcl"), autoscaler_policy::example_file())?;
    for case in golden::cases() {
        std::fs::write(&case.expected, case.render())?;
    }
    Ok(())
}
