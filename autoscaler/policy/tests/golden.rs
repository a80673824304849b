//! Faulty policies and the text that their authors read: `tests/golden/NAME.hcl`, or `NAME/*.hcl` for what only
//! files together get wrong, beside `NAME.txt`.

use autoscaler_policy::{File, load};
use std::path::{Path, PathBuf};

/// One faulty policy.
pub(crate) struct Case {
    files: Vec<File>,
    /// The file with the text.
    pub(crate) expected: PathBuf,
}

impl Case {
    /// The text that `check` shows.
    pub(crate) fn render(&self) -> String {
        match load(&self.files) {
            Ok(set) => format!("fine\n\n{}", set.warnings.render(false)),
            Err(problems) => problems.render(false),
        }
    }
}

/// All cases, in the order of their names.
pub(crate) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for path in list(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")) {
        let files = if path.is_dir() { list(&path) } else { vec![path.clone()] };
        if path.extension().is_some_and(|extension| extension == "txt") {
            continue;
        }
        let file = |path: &PathBuf| {
            let name = path.file_name().expect("a listed file has a name").to_string_lossy();
            File::new(name, std::fs::read_to_string(path).expect("a listed file is text"))
        };
        cases.push(Case { files: files.iter().map(file).collect(), expected: path.with_extension("txt") });
    }
    cases
}

fn list(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).expect("the directory is there");
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("it can be listed").path()).collect();
    paths.sort();
    paths
}

#[test]
fn faulty_policies_are_told_as_the_golden_files_say() {
    let cases = cases();
    assert!(cases.len() >= 10, "only {} cases were found", cases.len());
    for case in cases {
        let expected = std::fs::read_to_string(&case.expected).unwrap_or_default();
        assert_eq!(
            case.render(),
            expected,
            "{} is not what is said; if the new text is better: cargo run -p autoscaler-policy --example policy_reference",
            case.expected.display()
        );
    }
}
