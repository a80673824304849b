//! Any text at all: nothing panics, and what is reported lies in the text.

use crate::decode;
use proptest::prelude::*;

/// Something of everything that a file may hold.
const SEED: &str = r#"# A comment.
open  = false
port  = 8080
ratio = -1.5e3
share = "12.5%" // another
wait  = "1m30s"
mode  = "slow"
name  = <<-EOF
  two "quotes" ${x}
  EOF
tags  = ["a", "ä\"b", "$${c}"]
labels = { x = "1", "y.z" : "2" }
sizes = {
  "m5.large" = 2 /* two */
  small = 0.5,
}
limits {
  low = 2
}
store "disk" { high = 7 }
route "home" {
  to = "/"
}
"#;

const PIECES: &[&str] = &[
    "\"",
    "{",
    "}",
    "[",
    "]",
    "(",
    ")",
    "=",
    ":",
    ",",
    "\n",
    "\r\n",
    "\\",
    "${",
    "%{",
    "<<EOF",
    "/*",
    "*/",
    "#",
    "//",
    "ä",
    "\u{feff}",
    "\0",
    "limits {",
    "route \"a\" {",
    "store \"disk\" {",
    "port = 1\n",
    "x =",
    "null",
    "-",
    "?",
    ".",
];

#[derive(Clone, Debug)]
enum Change {
    Insert(usize, usize),
    Delete(usize, usize),
    Double(usize, usize),
}

fn change() -> impl Strategy<Value = Change> {
    let place = 0..SEED.len();
    prop_oneof![
        (place.clone(), 0..PIECES.len()).prop_map(|(at, piece)| Change::Insert(at, piece)),
        (place.clone(), 1_usize..20).prop_map(|(at, length)| Change::Delete(at, length)),
        (place, 1_usize..60).prop_map(|(at, length)| Change::Double(at, length)),
    ]
}

fn apply(text: &mut String, change: &Change) {
    let boundary = |at: usize| text.ceil_char_boundary(at.min(text.len()));
    match *change {
        Change::Insert(at, piece) => text.insert_str(boundary(at), PIECES[piece]),
        Change::Delete(at, length) => {
            let range = boundary(at)..boundary(at + length);
            text.replace_range(range, "");
        }
        Change::Double(at, length) => {
            let (start, end) = (boundary(at), boundary(at + length));
            let piece = text[start..end].to_owned();
            text.insert_str(end, &piece);
        }
    }
}

/// Reads a text and checks what must hold of any.
fn check(text: &str) {
    let (_, problems, _) = decode(text);
    let lines: Vec<&str> = text.split('\n').collect();
    for problem in &problems {
        let line = lines.get(problem.line - 1).unwrap_or_else(|| panic!("{problem} lies behind the end"));
        assert!(problem.column <= line.chars().count() + 1, "{problem} lies behind its line");
        assert!(!problem.message.is_empty() && problem.expected.is_some(), "{problem} says too little");
    }
    assert_eq!(problems.render(false).matches("\nerror: ").count() + 1, problems.len().max(1));
    assert_eq!(decode(text).1, problems, "a second reading finds something else");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn mangled_files_are_told_in_order(changes in prop::collection::vec(change(), 1..8)) {
        let mut text = SEED.to_owned();
        for change in &changes {
            apply(&mut text, change);
        }
        check(&text);
    }

    #[test]
    fn any_text_is_survived(pieces in prop::collection::vec(prop_oneof![
        (0..PIECES.len()).prop_map(|piece| PIECES[piece].to_owned()),
        ".{0,8}",
        "[a-z]{1,6}",
    ], 0..60)) {
        check(&pieces.concat());
    }
}

/// Long texts that are hard on something each.
#[test]
fn hostile_texts_are_survived_quickly() {
    let fill = |piece: &str| piece.repeat((1 << 15) / piece.len());
    for piece in [
        "a =\n",
        "port = 1\n",
        "\"\n",
        "{}",
        "a{}\n",
        "}",
        "[",
        "\"${",
        "<<EOF\n",
        "/*",
        "# \n",
        " ",
        "ä",
        "a = [\n]\n",
        "x\n",
        "route \"a\" {\n}\n",
        "'",
        "$${",
        "0",
        "a.",
        "\t{\n\t}\n",
    ] {
        check(&fill(piece));
        check(&format!("tags = [{}]\n", &fill(piece)[..1000]));
    }
    for (open, close) in
        [("[", "]"), ("(", ")"), ("{a=", "}"), ("\"${", "}\""), ("a {\n", "}\n"), ("-(", ")"), ("f(", ")")]
    {
        let depth = 31;
        check(&format!("port = {}1{}\n", open.repeat(depth), close.repeat(depth)));
        check(&format!("{}{}", open.repeat(depth), close.repeat(depth)));
    }
    check(&format!("port = 1{}\n", " + 1".repeat(1000)));
    check(&format!("port = {}1\n", "-".repeat(100_000)));
    check(&format!("port = {}1\n", "!".repeat(100_000)));
    check(&format!("port = a{}\n", ".b".repeat(100_000)));
    check(&format!("port = a{}\n", "[0]".repeat(100_000)));
}
