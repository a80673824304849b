//! Signed instance identity documents, as the metadata service has them at `dynamic/instance-identity/rsa2048`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fleet::Timestamp;
use getrandom::SysRng;
use rcgen::{
    Certificate, CertificateParams, DistinguishedName, DnType, KeyPair, PKCS_RSA_SHA256, SigningKey,
};
use rsa::PrivateKey;
use rsa::pkcs8::EncodePrivateKey;
use sha2::{Digest, Sha256};
use std::fmt;
use x509_cert::der::{Decode, Encode};

const BITS: usize = 2048;
/// The characters of a line of base64, as AWS breaks them.
const LINE: usize = 76;

// Object identifiers in DER, each of nine bytes.
const SIGNED_DATA: &[u8] = b"\x06\x09\x2A\x86\x48\x86\xF7\x0D\x01\x07\x02";
const DATA: &[u8] = b"\x06\x09\x2A\x86\x48\x86\xF7\x0D\x01\x07\x01";
const CONTENT_TYPE: &[u8] = b"\x06\x09\x2A\x86\x48\x86\xF7\x0D\x01\x09\x03";
const MESSAGE_DIGEST: &[u8] = b"\x06\x09\x2A\x86\x48\x86\xF7\x0D\x01\x09\x04";
const SIGNING_TIME: &[u8] = b"\x06\x09\x2A\x86\x48\x86\xF7\x0D\x01\x09\x05";
const SHA256_WITH_RSA: &[u8] = b"\x06\x09\x2A\x86\x48\x86\xF7\x0D\x01\x01\x0B";
const SHA256: &[u8] = b"\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01";
const NULL: &[u8] = &[0x05, 0x00];
const VERSION_1: &[u8] = &[0x02, 0x01, 0x01];

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const OCTETS: u8 = 0x04;
const UTC_TIME: u8 = 0x17;
/// Context-specific, constructed, number 0.
const CONTEXT_0: u8 = 0xA0;
/// An octet string in pieces.
const PIECES: u8 = 0x24;

/// A key and its certificate that sign instance identity documents as AWS's do, and that nobody should trust outside
/// of a test: both are made anew in every process.
pub struct DocumentSigner {
    key: KeyPair,
    certificate: Certificate,
    /// The certificate's issuer and serial number, as a DER sequence: how a signature names it.
    name_and_number: Vec<u8>,
}

impl fmt::Debug for DocumentSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DocumentSigner").finish_non_exhaustive()
    }
}

/// Why there is no signer, or no signature.
#[derive(Debug, thiserror::Error)]
pub enum SignerError {
    /// No key could be made.
    #[error("make an RSA key: {0}")]
    Key(String),
    /// No certificate could be made, or nothing be signed with it.
    #[error("sign")]
    Sign(#[from] rcgen::Error),
    /// Our own certificate cannot be read.
    #[error("read our own certificate")]
    Certificate(#[from] x509_cert::der::Error),
}

impl DocumentSigner {
    /// A signer with a new key. Takes some tenths of a second.
    pub fn generate() -> Result<Self, SignerError> {
        let key = PrivateKey::new(&mut SysRng, BITS).map_err(|error| SignerError::Key(error.to_string()))?;
        let key = key.to_pkcs8_der().map_err(|error| SignerError::Key(error.to_string()))?;
        let key = KeyPair::from_pkcs8_der_and_sign_algo(&key.as_bytes().into(), &PKCS_RSA_SHA256)?;
        let mut name = DistinguishedName::new();
        name.push(DnType::CountryName, "US");
        name.push(DnType::OrganizationName, "Simulated Web Services");
        let mut params = CertificateParams::default();
        params.distinguished_name = name;
        let certificate = params.self_signed(&key)?;
        let parsed = x509_cert::Certificate::from_der(certificate.der())?;
        let parsed = parsed.tbs_certificate();
        let (issuer, serial) = (parsed.issuer().to_der()?, parsed.serial_number().to_der()?);
        Ok(Self { key, certificate, name_and_number: tlv(SEQUENCE, &[&issuer, &serial]) })
    }

    /// The certificate in PEM: what verifies the signatures.
    pub fn certificate(&self) -> String {
        self.certificate.pem()
    }

    /// A document with its signature: base64 in lines, of PKCS #7 in the shape that AWS gives it: BER with indefinite
    /// lengths, the document in an octet string in pieces, signed attributes, no certificate.
    ///
    /// * `at`: the time that the signature claims.
    pub fn sign(&self, document: &[u8], at: Timestamp) -> Result<String, SignerError> {
        let sha256 = tlv(SEQUENCE, &[SHA256, NULL]);
        let attributes = attributes(document, at);
        let signature = self.key.sign(&tlv(SET, &[&attributes]))?;
        let signer = tlv(
            SEQUENCE,
            &[
                VERSION_1,
                &self.name_and_number,
                &sha256,
                &tlv(CONTEXT_0, &[&attributes]),
                &tlv(SEQUENCE, &[SHA256_WITH_RSA, NULL]),
                &tlv(OCTETS, &[&signature]),
            ],
        );
        let content = endless(
            SEQUENCE,
            &[DATA, &endless(CONTEXT_0, &[&endless(PIECES, &[&tlv(OCTETS, &[document])])])],
        );
        let signed = endless(SEQUENCE, &[VERSION_1, &tlv(SET, &[&sha256]), &content, &tlv(SET, &[&signer])]);
        let bytes = endless(SEQUENCE, &[SIGNED_DATA, &endless(CONTEXT_0, &[&signed])]);
        let text = STANDARD.encode(bytes);
        let lines: Vec<&str> =
            (0..text.len()).step_by(LINE).map(|from| &text[from..text.len().min(from + LINE)]).collect();
        Ok(lines.join("\n"))
    }
}

/// The signed attributes, as the members of a DER set: in the order of their encodings.
fn attributes(document: &[u8], at: Timestamp) -> Vec<u8> {
    let attribute = |kind: &[u8], value: &[u8]| tlv(SEQUENCE, &[kind, &tlv(SET, &[value])]);
    // `2026-11-19T16:32:11Z` as `261119163211Z`.
    let time: String =
        Timestamp::from_secs(at.secs()).to_string().chars().filter(char::is_ascii_digit).skip(2).collect();
    let mut attributes = [
        attribute(CONTENT_TYPE, DATA),
        attribute(SIGNING_TIME, &tlv(UTC_TIME, &[time.as_bytes(), b"Z"])),
        attribute(MESSAGE_DIGEST, &tlv(OCTETS, &[&Sha256::digest(document)])),
    ];
    attributes.sort();
    attributes.concat()
}

/// Tag, length, value.
fn tlv(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let value = parts.concat();
    let bytes = value.len().to_be_bytes();
    let significant: Vec<u8> = bytes.into_iter().skip_while(|byte| *byte == 0).collect();
    let length = match significant.as_slice() {
        [] => vec![0],
        [short] if *short < 0x80 => vec![*short],
        // A length has eight bytes at most.
        long => [&[0x80 | u8::try_from(long.len()).unwrap_or(8)], long].concat(),
    };
    [&[tag], length.as_slice(), &value].concat()
}

/// Tag, indefinite length, value, end.
fn endless(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    [&[tag, 0x80], parts.concat().as_slice(), &[0, 0]].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use fleet_identity::Trust;

    #[test]
    fn a_document_that_was_signed_here_is_verified_there() {
        let signer = DocumentSigner::generate().expect("a key");
        let document = r#"{"accountId": "123456789012", "instanceId": "i-1", "region": "eu-west-1",
            "pendingTime": "2026-11-19T16:32:11Z", "privateIp": "10.0.0.7"}"#;
        let at = Timestamp::parse("2026-11-19T16:32:20Z").expect("a time");
        let text = signer.sign(document.as_bytes(), at).expect("a signature");
        assert!(
            text.starts_with("MIAGCSqGSIb3DQEHAqCAMIACAQExDzANBglghkgBZQMEAgEFADCABgkqhkiG9w0B"),
            "{text}"
        );
        assert!(text.lines().all(|line| line.len() <= LINE));
        let mut trust = Trust::default();
        trust.add_pem(Some(&"eu-west-1".into()), &signer.certificate()).expect("a certificate");
        assert_eq!(trust.open(&text).expect("verified").instance.as_str(), "i-1");

        let other = DocumentSigner::generate().expect("a key");
        let text = other.sign(document.as_bytes(), at).expect("a signature");
        assert!(trust.open(&text).is_err(), "another server's");
    }

    #[test]
    fn lengths_are_written_as_short_as_they_can_be() {
        for (size, head) in
            [(0, &[4, 0][..]), (127, &[4, 127]), (128, &[4, 0x81, 128]), (256, &[4, 0x82, 1, 0])]
        {
            assert!(tlv(OCTETS, &[&vec![7; size]]).starts_with(head), "{size}");
        }
    }
}
