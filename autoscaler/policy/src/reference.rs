//! The reference documentation and the example file, both from the tables.

use crate::draft::FileDraft;
use crate::tables::FILE;
use muster_hcl::TableDoc;

const INTRODUCTION: &str = "\
# Policy reference

What a policy file may say. Files are HCL; a directory's `*.hcl` files are read together, in the order of their
names. Everything has a default but the fleet itself, so the smallest useful policy is

```hcl
fleet \"web\" {
  id = \"sfr-73fbd2ce-aa30-494c-8788-1cee4b2ad1f5\"
}
```

`muster-autoscaler check FILE...` finds everything that is wrong with a policy at once, and
`muster-autoscaler explain-policy FILE` shows every effective value and where it comes from.
`autoscaler/policy/examples/full.hcl` says every default.

* Durations are written as `\"90s\"`, `\"5m\"`, `\"1h30m\"` or `\"7d\"`; shares as `\"75%\"`, with the sign.
* Units of capacity are the fleet's own: what its target counts, instances where it has no weights.
* Values stand for themselves: there are no variables, no functions, nothing is computed.
* A name that is not in this reference is an error, as is one that is given twice.

";

/// The reference documentation of policies, in Markdown: `docs/policy-reference.md`.
pub fn reference_markdown() -> String {
    let mut text = INTRODUCTION.to_owned();
    text.push_str(&describe().markdown(2));
    text.truncate(text.trim_end().len());
    text + "\n"
}

/// A policy file that says every default, with documentation: `examples/full.hcl`.
pub fn example_file() -> String {
    let mut text = "\
# A policy that says every default, with what it means. What has no default stands behind `#`.
# Generated; the smallest useful policy is in minimal.hcl.

"
    .to_owned();
    text.push_str(&describe().example());
    text
}

fn describe() -> TableDoc {
    TableDoc::of(&FILE, &FileDraft::default())
}
