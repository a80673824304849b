//! Documents as `openssl` signs them: DER and BER, directly and by attributes, and everything that must be refused.
//! Needs the program `openssl` (Debian package `openssl`).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use der::Decode as _;
use fleet_identity::{Document, MAX_DOCUMENT_BYTES, MAX_TEXT_BYTES, NotSigned, Trust, TrustError};
use proptest::prelude::*;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use tempfile::TempDir;

const DOCUMENT: &str = r#"{
  "accountId" : "123456789012",
  "architecture" : "x86_64",
  "availabilityZone" : "eu-west-1a",
  "billingProducts" : null,
  "imageId" : "ami-5fb8c835",
  "instanceId" : "i-0123456789abcdef0",
  "instanceType" : "m5.large",
  "pendingTime" : "2026-11-19T16:32:11Z",
  "privateIp" : "10.158.112.84",
  "region" : "eu-west-1",
  "somethingNew" : { "of" : [ "whatever", "kind" ] },
  "version" : "2017-09-30"
}"#;

/// A directory with keys and certificates: `aws` (whom we trust), `other` (like it, and not trusted), `dsa`, `small`.
struct Desk {
    directory: TempDir,
}

fn openssl(arguments: &[&str], at: &Path) -> Vec<u8> {
    let output = Command::new("openssl")
        .args(arguments)
        .current_dir(at)
        .stdin(Stdio::null())
        .output()
        .expect("the program `openssl` runs: apt-get install openssl");
    assert!(output.status.success(), "openssl {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

impl Desk {
    fn shared() -> &'static Self {
        static DESK: OnceLock<Desk> = OnceLock::new();
        DESK.get_or_init(|| {
            let desk = Self { directory: tempfile::tempdir().expect("a directory") };
            for (name, key) in [("aws", "rsa:2048"), ("other", "rsa:2048"), ("small", "rsa:1024")] {
                desk.certify(name, key);
            }
            let parameters = ["dsaparam", "-out", "parameters.pem", "1024"];
            openssl(&parameters, desk.directory.path());
            desk.certify("dsa", "dsa:parameters.pem");
            desk
        })
    }

    fn certify(&self, name: &str, key: &str) {
        let (key_file, certificate) = (format!("{name}.key"), format!("{name}.pem"));
        #[rustfmt::skip]
        openssl(
            &["req", "-x509", "-newkey", key, "-nodes", "-keyout", &key_file, "-out", &certificate, "-days", "3650",
              "-sha256", "-subj", "/C=US/ST=Washington State/L=Seattle/O=Example Web Services"],
            self.directory.path(),
        );
    }

    fn certificate(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(&format!("{name}.pem"))).expect("a certificate")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn trust(&self) -> Trust {
        let mut trust = Trust::default();
        trust.add_pem(None, &self.certificate("aws")).expect("a certificate");
        trust
    }

    /// PKCS #7 in bytes, by `openssl cms`.
    fn sign(&self, by: &str, content: &[u8], extra: &[&str]) -> Vec<u8> {
        self.sign_by("cms", by, content, extra)
    }

    fn sign_by(&self, program: &str, by: &str, content: &[u8], extra: &[&str]) -> Vec<u8> {
        let file = tempfile::NamedTempFile::new_in(self.directory.path()).expect("a file");
        std::fs::write(file.path(), content).expect("a document");
        let (key, certificate) = (format!("{by}.key"), format!("{by}.pem"));
        let name = file.path().to_str().expect("a path");
        #[rustfmt::skip]
        let mut arguments = vec![program, "-sign", "-in", name, "-signer", &certificate, "-inkey", &key,
            "-nodetach", "-binary", "-outform", "DER"];
        arguments.extend(extra);
        openssl(&arguments, self.directory.path())
    }
}

fn text(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

fn is_the_document(opened: Result<Document, NotSigned>, how: &str) {
    let document = opened.unwrap_or_else(|wrong| panic!("{how}: {wrong}"));
    assert_eq!(document.instance.as_str(), "i-0123456789abcdef0", "{how}");
    assert_eq!(document.account, "123456789012");
    assert_eq!(document.region.as_str(), "eu-west-1");
    assert_eq!(document.image.as_deref(), Some("ami-5fb8c835"));
    assert_eq!(document.instance_type.as_deref(), Some("m5.large"));
    assert_eq!(document.pending.to_string(), "2026-11-19T16:32:11Z");
    assert_eq!(document.private_ip, Some("10.158.112.84".parse().expect("an address")));
}

#[test]
fn a_signed_document_is_read_in_whatever_shape_it_is_signed() {
    let (desk, trust) = (Desk::shared(), Desk::shared().trust());
    for how in [
        &["-md", "sha256"][..],
        &["-md", "sha256", "-nocerts"],
        &["-md", "sha256", "-nosmimecap"],
        &["-md", "sha256", "-noattr"],
        &["-md", "sha256", "-noattr", "-nocerts"],
        &["-md", "sha256", "-keyid"],
        &["-md", "sha256", "-stream"],
        &["-md", "sha256", "-stream", "-nocerts", "-noattr"],
    ] {
        is_the_document(trust.open(&text(&desk.sign("aws", DOCUMENT.as_bytes(), how))), &format!("{how:?}"));
    }
    let old = desk.sign_by("smime", "aws", DOCUMENT.as_bytes(), &["-md", "sha256", "-stream"]);
    is_the_document(trust.open(&text(&old)), "smime");
}

#[test]
fn indefinite_lengths_are_read_and_are_really_there() {
    let desk = Desk::shared();
    let bytes = desk.sign("aws", DOCUMENT.as_bytes(), &["-md", "sha256", "-stream", "-nocerts"]);
    // What AWS's own begin with: a sequence of indefinite length, signed data, [0] of indefinite length.
    assert!(text(&bytes).starts_with("MIAGCSqGSIb3DQEHAqCAMIACAQEx"), "{}", text(&bytes));
    // The document is an octet string in pieces, of indefinite length itself.
    assert!(bytes.windows(4).any(|four| four == [0xA0, 0x80, 0x24, 0x80]));
    assert!(der::Any::from_der(&bytes).is_err(), "a reader of DER refuses it");
    is_the_document(desk.trust().open(&text(&bytes)), "BER");
}

#[test]
fn a_large_document_comes_in_several_pieces() {
    let desk = Desk::shared();
    let mut long = DOCUMENT.to_owned();
    long.push_str(&" ".repeat(MAX_DOCUMENT_BYTES - long.len()));
    let bytes = desk.sign("aws", long.as_bytes(), &["-md", "sha256", "-stream", "-nocerts"]);
    is_the_document(desk.trust().open(&text(&bytes)), "several pieces");
    long.push(' ');
    let bytes = desk.sign("aws", long.as_bytes(), &["-md", "sha256", "-stream", "-nocerts"]);
    assert_eq!(desk.trust().open(&text(&bytes)), Err(NotSigned::TooLarge));
    assert_eq!(desk.trust().open(&"A".repeat(MAX_TEXT_BYTES + 1)), Err(NotSigned::TooLarge));
}

#[test]
fn armour_and_line_ends_do_not_matter() {
    let desk = Desk::shared();
    let bare = text(&desk.sign("aws", DOCUMENT.as_bytes(), &["-md", "sha256", "-nocerts"]));
    let lines = |ends: &str| {
        bare.as_bytes()
            .chunks(64)
            .map(|line| String::from_utf8_lossy(line).into_owned() + ends)
            .collect::<String>()
    };
    let armoured = format!("-----BEGIN PKCS7-----\n{}-----END PKCS7-----\n", lines("\n"));
    for text in
        [lines("\n"), lines("\r\n"), armoured, bare.trim_end_matches('=').to_owned(), format!(" {bare}\n")]
    {
        is_the_document(desk.trust().open(&text), &text);
    }
}

#[test]
fn another_signer_is_refused_even_under_the_same_name() {
    let (desk, trust) = (Desk::shared(), Desk::shared().trust());
    let bytes = desk.sign("other", DOCUMENT.as_bytes(), &["-md", "sha256"]);
    let refused = trust.open(&text(&bytes)).expect_err("another signer");
    assert!(refused.to_string().contains("Example Web Services"), "{refused}");
    assert!(Trust::default().open(&text(&bytes)).is_err(), "nobody is trusted by default");

    // The other key, under the serial number and the name of the certificate that is trusted.
    let serial = openssl(&["x509", "-in", "aws.pem", "-noout", "-serial"], desk.directory.path());
    let serial = String::from_utf8(serial).expect("text").trim().replace("serial=", "0x");
    #[rustfmt::skip]
    openssl(
        &["req", "-x509", "-key", "other.key", "-out", "impostor.pem", "-days", "3650", "-sha256", "-set_serial", &serial,
          "-subj", "/C=US/ST=Washington State/L=Seattle/O=Example Web Services"],
        desk.directory.path(),
    );
    std::fs::copy(desk.path("other.key"), desk.path("impostor.key")).expect("a copy");
    let bytes = desk.sign("impostor", DOCUMENT.as_bytes(), &["-md", "sha256"]);
    assert_eq!(trust.open(&text(&bytes)), Err(NotSigned::Forged));
}

#[test]
fn weak_digests_and_other_algorithms_are_refused() {
    let (desk, trust) = (Desk::shared(), Desk::shared().trust());
    for (digest, oid) in
        [("sha1", "1.3.14.3.2.26"), ("md5", "1.2.840.113549.2.5"), ("sha512", "2.16.840.1.101.3.4.2.3")]
    {
        for extra in [&["-md", digest][..], &["-md", digest, "-noattr"]] {
            let bytes = desk.sign("aws", DOCUMENT.as_bytes(), extra);
            assert_eq!(trust.open(&text(&bytes)), Err(NotSigned::Algorithm { oid: oid.into() }), "{digest}");
        }
    }
    let pss = desk.sign("aws", DOCUMENT.as_bytes(), &["-md", "sha256", "-keyopt", "rsa_padding_mode:pss"]);
    assert!(matches!(trust.open(&text(&pss)), Err(NotSigned::Algorithm { .. })));
    let dsa = desk.sign("dsa", DOCUMENT.as_bytes(), &["-md", "sha1"]);
    assert!(matches!(trust.open(&text(&dsa)), Err(NotSigned::Algorithm { .. })));
}

#[test]
fn a_changed_document_is_refused_wherever_it_was_changed() {
    let (desk, trust) = (Desk::shared(), Desk::shared().trust());
    for extra in [&["-md", "sha256"][..], &["-md", "sha256", "-noattr"], &["-md", "sha256", "-stream"]] {
        let bytes = desk.sign("aws", DOCUMENT.as_bytes(), extra);
        let at = bytes.windows(9).position(|nine| nine == b"i-0123456").expect("the instance");
        let mut changed = bytes.clone();
        changed[at + 3] = b'9';
        assert_eq!(trust.open(&text(&changed)), Err(NotSigned::Forged), "{extra:?}");
        let last = bytes.len() - 20;
        let mut changed = bytes.clone();
        changed[last] ^= 1;
        assert!(trust.open(&text(&changed)).is_err(), "the signature");
    }
}

#[test]
fn attributes_that_were_signed_are_no_document() {
    // What an attacker can make of a signature over attributes: the attributes as content, signed directly.
    let (desk, trust) = (Desk::shared(), Desk::shared().trust());
    let bytes = desk.sign("aws", b"1\x02\x30\x00", &["-md", "sha256", "-noattr"]);
    assert!(matches!(trust.open(&text(&bytes)), Err(NotSigned::NoDocument { .. })));
}

#[test]
fn what_is_signed_and_no_identity_document_is_refused() {
    let (desk, trust) = (Desk::shared(), Desk::shared().trust());
    for (from, to, says) in [
        ("\"instanceId\" : \"i-0123456789abcdef0\"", "\"instanceId\" : \"i-0.1\"", "instanceId"),
        ("\"instanceId\" : \"i-0123456789abcdef0\",", "", "instanceId"),
        ("2026-11-19T16:32:11Z", "yesterday", "pendingTime"),
        ("10.158.112.84", "ten", "IP address"),
        ("{\n", "[\n", "column"),
    ] {
        let content = DOCUMENT.replacen(from, to, 1);
        let bytes = desk.sign("aws", content.as_bytes(), &["-md", "sha256"]);
        let refused = trust.open(&text(&bytes)).expect_err(to).to_string();
        assert!(refused.contains(says), "{refused}");
    }
    // Without the document in it.
    let file = desk.path("detached.json");
    std::fs::write(&file, DOCUMENT).expect("a file");
    #[rustfmt::skip]
    let bytes = openssl(
        &["cms", "-sign", "-in", "detached.json", "-signer", "aws.pem", "-inkey", "aws.key", "-binary", "-outform", "DER"],
        desk.directory.path(),
    );
    assert!(matches!(trust.open(&text(&bytes)), Err(NotSigned::Malformed { .. })));
    // Signed by two: which of them is meant?
    let two = desk.sign(
        "aws",
        DOCUMENT.as_bytes(),
        &["-md", "sha256", "-signer", "other.pem", "-inkey", "other.key"],
    );
    assert!(matches!(trust.open(&text(&two)), Err(NotSigned::Malformed { .. })));
}

#[test]
fn a_certificate_of_one_region_signs_for_no_other() {
    let desk = Desk::shared();
    let bytes = desk.sign("aws", DOCUMENT.as_bytes(), &["-md", "sha256"]);
    let mut trust = Trust::default();
    trust.add_pem(Some(&"us-east-1".into()), &desk.certificate("aws")).expect("a certificate");
    assert!(matches!(trust.open(&text(&bytes)), Err(NotSigned::Region { .. })));
    let mut trust = Trust::default();
    let both = desk.certificate("other") + &desk.certificate("aws");
    trust.add_pem(Some(&"eu-west-1".into()), &both).expect("certificates");
    assert_eq!(trust.len(), 2);
    is_the_document(trust.open(&text(&bytes)), "the right region");
}

#[test]
fn certificates_that_cannot_be_meant_are_refused() {
    let (desk, mut trust) = (Desk::shared(), Trust::default());
    for name in ["dsa", "small"] {
        assert_eq!(trust.add_pem(None, &desk.certificate(name)), Err(TrustError::NotRsa), "{name}");
    }
    let cut = &desk.certificate("aws")[..400];
    for pem in ["", "nothing", cut] {
        assert!(matches!(trust.add_pem(None, pem), Err(TrustError::Malformed { .. })), "{pem:?}");
    }
    assert!(trust.is_empty());
}

#[test]
fn a_text_that_was_cut_anywhere_is_refused() {
    let (desk, trust) = (Desk::shared(), Desk::shared().trust());
    for extra in [&["-md", "sha256"][..], &["-md", "sha256", "-stream", "-nocerts"]] {
        let bytes = desk.sign("aws", DOCUMENT.as_bytes(), extra);
        for length in 0..bytes.len() {
            assert!(trust.open(&text(&bytes[..length])).is_err(), "{length} of {}", bytes.len());
        }
        let mut more = bytes;
        more.push(0);
        assert!(trust.open(&text(&more)).is_err(), "something follows");
    }
    // Deep nesting, and lengths that promise what is not there.
    for bytes in
        [[0x30, 0x80].repeat(5_000), [0x24, 0x80].repeat(5_000), vec![0x30, 0x84, 0xFF, 0xFF, 0xFF, 0xFF]]
    {
        assert!(trust.open(&text(&bytes)).is_err());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever bytes are changed, the answer is a refusal or the document that was signed: never another, never a panic.
    #[test]
    fn changed_bytes_never_make_another_document(
        stream in any::<bool>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        static SIGNED: OnceLock<[Vec<u8>; 2]> = OnceLock::new();
        let desk = Desk::shared();
        let signed = SIGNED.get_or_init(|| {
            let sign = |extra: &[&str]| desk.sign("aws", DOCUMENT.as_bytes(), extra);
            [sign(&["-md", "sha256"]), sign(&["-md", "sha256", "-stream", "-nocerts"])]
        });
        let mut bytes = signed[usize::from(stream)].clone();
        for (index, byte) in changes {
            let at = index.index(bytes.len());
            bytes[at] = byte;
        }
        if let Ok(document) = desk.trust().open(&text(&bytes)) {
            is_the_document(Ok(document), "what was signed");
        }
    }

    #[test]
    fn nothing_panics(bytes in prop::collection::vec(any::<u8>(), 0..400), words in "\\PC{0,200}") {
        let trust = Desk::shared().trust();
        prop_assert!(trust.open(&text(&bytes)).is_err());
        prop_assert!(trust.open(&words).is_err());
        prop_assert!(Trust::default().add_pem(None, &words).is_err());
    }
}
