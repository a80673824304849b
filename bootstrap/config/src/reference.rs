//! The reference documentation and the example file, both from the tables.

use crate::model::Settings;
use crate::tables::FILE;
use crate::tags::{PREFIX, TAGGED};
use muster_hcl::TableDoc;

const INTRODUCTION: &str = "\
# Configuration reference of muster-bootstrap

What `/etc/muster/bootstrap.hcl`, the files of `/etc/muster/conf.d/*.hcl` (in the order of their names), the
parameters of SSM and the instance's tags may say. What is said later stands: tags over parameters over `conf.d` over
the file. A list or a map is said as a whole; a `step`, `template`, `file`, `package` or `directory` block replaces
the earlier one of its label.

`muster-bootstrap check FILE...` finds everything that is wrong with files at once, `muster-bootstrap plan` shows every
value that holds and where it comes from. `bootstrap/config/examples/full.hcl` says every default.

* Durations are written as `\"90s\"`, `\"5m\"`, `\"1h30m\"` or `\"7d\"`.
* Values stand for themselves: there are no variables, no functions, nothing is computed.
* A secret is never part of it: a file or a SecureString holds it, and this names which.

";

/// The reference documentation, in Markdown: `docs/bootstrap-reference.md`.
pub fn reference_markdown() -> String {
    let mut text = INTRODUCTION.to_owned();
    text.push_str("A tag may set one of these; its key is the path behind `");
    text.push_str(PREFIX);
    text.push_str("`:\n\n");
    for path in TAGGED {
        text.extend(["* `", PREFIX, path, "`\n"]);
    }
    text.push('\n');
    text.push_str(&describe().markdown(2));
    text.truncate(text.trim_end().len());
    text + "\n"
}

/// A file that says every default, with documentation: `examples/full.hcl`.
pub fn example_file() -> String {
    let mut text = "\
# A configuration that says every default, with what it means. What has no default stands behind `#`.
# Generated; the smallest useful configuration is in minimal.hcl.

"
    .to_owned();
    text.push_str(&describe().example());
    text
}

fn describe() -> TableDoc {
    TableDoc::of(&FILE, &Settings::default())
}
