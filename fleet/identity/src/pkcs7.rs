//! PKCS #7 SignedData (RFC 5652), as far as AWS's `rsa2048` signatures need it.
//!
//! AWS writes BER with indefinite lengths and octet strings in pieces, which a reader of DER refuses; `der` reads both.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use der::asn1::{Any, ObjectIdentifier, OctetString, SetOfVec};
use der::{Choice, Decode, Encode, EncodingRules, Reader, Sequence, SliceReader, ValueOrd};
use ring::digest;
use x509_cert::attr::Attributes;
use x509_cert::name::Name;
use x509_cert::serial_number::SerialNumber;
use x509_cert::spki::AlgorithmIdentifierOwned;

use crate::document::MAX_DOCUMENT_BYTES;

/// The longest text that is looked at: a document, a certificate or two and a signature fit several times.
pub const MAX_TEXT_BYTES: usize = 32 * 1024;

const DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.1");
const SIGNED_DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.2");
const CONTENT_TYPE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.3");
const MESSAGE_DIGEST: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.4");
const SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.1");
pub(crate) const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const SHA256_WITH_RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.11");

/// Padding is left out by some who copy such texts.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Why a text is not what a trusted certificate has signed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotSigned {
    /// It is larger than anything that AWS signs.
    #[error(
        "the signature is larger than {MAX_TEXT_BYTES} bytes, or the document in it than {MAX_DOCUMENT_BYTES}"
    )]
    TooLarge,
    /// It is not base64 of PKCS #7 SignedData with the document in it.
    #[error("it is not the PKCS #7 of a document: {what}")]
    Malformed {
        /// What is wrong.
        what: String,
    },
    /// Another digest or another kind of signature than SHA-256 with RSA.
    #[error(
        "it is signed by the algorithm {oid}, not by SHA-256 with RSA (is it `pkcs7` instead of `rsa2048`?)"
    )]
    Algorithm {
        /// The object identifier that was found.
        oid: String,
    },
    /// None of the certificates that are trusted is the signer's.
    #[error("its signer is none of the trusted certificates: {signer}")]
    UnknownSigner {
        /// The signer's name and serial number, or key id, as it says itself.
        signer: String,
    },
    /// The signature does not fit the document: one of the two was changed.
    #[error("the signature does not fit the document")]
    Forged,
    /// What was signed is not an instance identity document.
    #[error("what was signed is no instance identity document: {what}")]
    NoDocument {
        /// What is wrong.
        what: String,
    },
    /// The certificate is trusted for another region.
    #[error("the certificate of {certificate} signed a document of {document}")]
    Region {
        /// Whose certificate signed.
        certificate: String,
        /// The document's region.
        document: String,
    },
}

#[derive(Sequence)]
struct ContentInfo {
    content_type: ObjectIdentifier,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT")]
    content: SignedData,
}

#[derive(Sequence)]
struct SignedData {
    version: u8,
    digests: SetOfVec<AlgorithmIdentifierOwned>,
    encapsulated: Encapsulated,
    // Whom to trust is not the sender's to say: certificates that come along are not looked at.
    #[asn1(context_specific = "0", tag_mode = "IMPLICIT", optional = "true")]
    certificates: Option<SetOfVec<Any>>,
    #[asn1(context_specific = "1", tag_mode = "IMPLICIT", optional = "true")]
    revocations: Option<SetOfVec<Any>>,
    signers: SetOfVec<SignerInfo>,
}

#[derive(Sequence)]
struct Encapsulated {
    content_type: ObjectIdentifier,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", optional = "true")]
    content: Option<OctetString>,
}

#[derive(Sequence, ValueOrd)]
struct SignerInfo {
    version: u8,
    signer: Signer,
    digest: AlgorithmIdentifierOwned,
    #[asn1(context_specific = "0", tag_mode = "IMPLICIT", optional = "true")]
    signed: Option<Attributes>,
    algorithm: AlgorithmIdentifierOwned,
    signature: OctetString,
    #[asn1(context_specific = "1", tag_mode = "IMPLICIT", optional = "true")]
    unsigned: Option<Attributes>,
}

/// How a signer names its certificate.
#[derive(Clone, Debug, PartialEq, Eq, Choice, ValueOrd)]
pub(crate) enum Signer {
    ByNumber(NameAndNumber),
    #[asn1(context_specific = "0", tag_mode = "IMPLICIT")]
    ByKey(OctetString),
}

#[derive(Clone, Debug, PartialEq, Eq, Sequence, ValueOrd)]
pub(crate) struct NameAndNumber {
    pub(crate) issuer: Name,
    pub(crate) serial: SerialNumber,
}

impl Signer {
    /// For people: what they can compare with `openssl x509 -serial -issuer`. At most 256 characters.
    fn in_words(&self) -> String {
        let words = match self {
            Self::ByNumber(NameAndNumber { issuer, serial }) => format!("{issuer}, serial number {serial}"),
            Self::ByKey(id) => {
                id.as_bytes().iter().fold("key id ".to_owned(), |words, byte| format!("{words}{byte:02X}"))
            }
        };
        words.chars().filter(|c| !c.is_control()).take(256).collect()
    }
}

/// A document with its signature, not checked yet.
pub(crate) struct Signed {
    content: OctetString,
    info: SignerInfo,
    /// What the signature is over.
    covered: Vec<u8>,
}

impl Signed {
    /// Takes a text apart: base64 with or without PEM's armour and line ends, then BER or DER.
    ///
    /// Checks everything that needs no key: the algorithms, and that the digest in signed attributes is that of the
    /// content.
    pub(crate) fn parse(text: &str) -> Result<Self, NotSigned> {
        if text.len() > MAX_TEXT_BYTES {
            return Err(NotSigned::TooLarge);
        }
        let bare: String = text
            .lines()
            .filter(|line| !line.trim_start().starts_with("-----"))
            .flat_map(str::chars)
            .filter(|c| !c.is_ascii_whitespace())
            .collect();
        let bytes = BASE64.decode(bare).map_err(|wrong| malformed(&wrong))?;
        let ContentInfo { content_type, content } = read(&bytes)?;
        if content_type != SIGNED_DATA {
            return Err(malformed(&format_args!("it holds {content_type}, not signed data")));
        }
        let SignedData { encapsulated, signers, .. } = content;
        let Encapsulated { content_type: DATA, content: Some(content) } = encapsulated else {
            return Err(malformed(&"the document is not in it"));
        };
        let Ok([info]) = <[SignerInfo; 1]>::try_from(signers.into_vec()) else {
            return Err(malformed(&"it has not exactly one signer"));
        };
        if content.as_bytes().len() > MAX_DOCUMENT_BYTES {
            return Err(NotSigned::TooLarge);
        }
        let covered = covered(&info, content.as_bytes())?;
        Ok(Self { content, info, covered })
    }

    /// How the signer names its certificate.
    pub(crate) const fn signer(&self) -> &Signer {
        &self.info.signer
    }

    /// The document, if this public key (an `RSAPublicKey` in DER) has signed it.
    pub(crate) fn verify(&self, key: &[u8]) -> Option<&[u8]> {
        ring::signature::UnparsedPublicKey::new(&ring::signature::RSA_PKCS1_2048_8192_SHA256, key)
            .verify(&self.covered, self.info.signature.as_bytes())
            .is_ok()
            .then(|| self.content.as_bytes())
    }

    /// None of the trusted certificates is the signer's.
    pub(crate) fn unknown_signer(&self) -> NotSigned {
        NotSigned::UnknownSigner { signer: self.info.signer.in_words() }
    }
}

/// Reads all of `bytes` by the rules of BER, of which DER is a part.
fn read(bytes: &[u8]) -> Result<ContentInfo, NotSigned> {
    let mut reader =
        SliceReader::new_with_encoding_rules(bytes, EncodingRules::Ber).map_err(|wrong| malformed(&wrong))?;
    let read = ContentInfo::decode(&mut reader).map_err(|wrong| malformed(&wrong))?;
    reader.finish().map_err(|wrong| malformed(&wrong))?;
    Ok(read)
}

/// What a signer has signed: the content itself, or attributes with the content's digest among them.
fn covered(info: &SignerInfo, content: &[u8]) -> Result<Vec<u8>, NotSigned> {
    let unlike = |oid: ObjectIdentifier| Err(NotSigned::Algorithm { oid: oid.to_string() });
    if info.digest.oid != SHA256 {
        return unlike(info.digest.oid);
    }
    if info.algorithm.oid != RSA && info.algorithm.oid != SHA256_WITH_RSA {
        return unlike(info.algorithm.oid);
    }
    let Some(attributes) = &info.signed else { return Ok(content.to_vec()) };
    let content_type: ObjectIdentifier = attribute(attributes, CONTENT_TYPE)?;
    let said: OctetString = attribute(attributes, MESSAGE_DIGEST)?;
    if content_type != DATA {
        return Err(malformed(&"the signed attributes are of another content"));
    }
    if said.as_bytes() != digest::digest(&digest::SHA256, content).as_ref() {
        return Err(NotSigned::Forged);
    }
    // The signature is over the attributes as a set in DER, in whatever order and encoding they were sent.
    let sorted = SetOfVec::try_from(attributes.clone().into_vec()).map_err(|wrong| malformed(&wrong))?;
    sorted.to_der().map_err(|wrong| malformed(&wrong))
}

/// The only value of an attribute that is there exactly once.
fn attribute<T: for<'a> der::DecodeValue<'a, Error = der::Error> + der::FixedTag>(
    attributes: &Attributes,
    oid: ObjectIdentifier,
) -> Result<T, NotSigned> {
    let mut values = attributes.iter().filter(|attribute| attribute.oid == oid).flat_map(|a| a.values.iter());
    match (values.next(), values.next()) {
        (Some(value), None) => value.decode_as().map_err(|wrong| malformed(&wrong)),
        _ => Err(malformed(&format_args!("the signed attribute {oid} is not there exactly once"))),
    }
}

fn malformed(what: &dyn std::fmt::Display) -> NotSigned {
    NotSigned::Malformed { what: what.to_string() }
}
