//! Whose signatures count.

use crate::document::Document;
use crate::pkcs7::{NameAndNumber, NotSigned, RSA, Signed, Signer};
use der::Decode;
use der::asn1::ObjectIdentifier;
use fleet::Region;
use x509_cert::Certificate;

const SUBJECT_KEY_ID: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.14");

/// Certificates that sign instance identity documents: AWS publishes one a region, self-signed.
///
/// A certificate is trusted because it is here, whatever it says of its issuer and its validity. None is built in: see
/// docs/decisions/0047.
#[derive(Clone, Debug, Default)]
pub struct Trust {
    certificates: Vec<Trusted>,
}

#[derive(Clone, Debug)]
struct Trusted {
    /// `None`: trusted for every region.
    region: Option<Region>,
    number: NameAndNumber,
    key_id: Option<Vec<u8>>,
    /// An `RSAPublicKey` in DER.
    key: Vec<u8>,
}

/// Why certificates cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TrustError {
    /// No certificate in PEM.
    #[error("find certificates in PEM: {what}")]
    Malformed {
        /// What is wrong.
        what: String,
    },
    /// A certificate with a key that makes no `rsa2048` signatures; AWS lists a DSA certificate beside it.
    #[error(
        "use a certificate whose key is no RSA key of 2048 bits or more (is it the one for `pkcs7` or `signature`?)"
    )]
    NotRsa,
}

impl Trust {
    /// Trusts the certificates of a PEM text.
    ///
    /// * `region`: the only one whose documents they may sign; `None`: any.
    /// * All of the text or nothing is taken.
    pub fn add_pem(&mut self, region: Option<&Region>, pem: &str) -> Result<(), TrustError> {
        let malformed = |what: &dyn std::fmt::Display| TrustError::Malformed { what: what.to_string() };
        let certificates = Certificate::load_pem_chain(pem.as_bytes()).map_err(|wrong| malformed(&wrong))?;
        if certificates.is_empty() {
            return Err(malformed(&"there is none"));
        }
        let trusted: Vec<Trusted> =
            certificates.iter().map(|certificate| trusted(region, certificate)).collect::<Result<_, _>>()?;
        self.certificates.extend(trusted);
        Ok(())
    }

    /// How many certificates are trusted.
    pub const fn len(&self) -> usize {
        self.certificates.len()
    }

    /// Whether none is: then nothing is believed.
    pub const fn is_empty(&self) -> bool {
        self.certificates.is_empty()
    }

    /// The document that a text holds, if a trusted certificate signed it.
    ///
    /// * `pkcs7`: what the metadata service has at `dynamic/instance-identity/rsa2048`: base64 of PKCS #7, with or
    ///   without PEM's armour and line ends; BER or DER; signed directly or by signed attributes.
    /// * That AWS signed it once is all that this says: see [`crate::Rules::admit`].
    ///
    /// Never panics. Some 50 µs.
    pub fn open(&self, pkcs7: &str) -> Result<Document, NotSigned> {
        let signed = Signed::parse(pkcs7)?;
        let signers: Vec<&Trusted> =
            self.certificates.iter().filter(|trusted| trusted.is(signed.signer())).collect();
        if signers.is_empty() {
            return Err(signed.unknown_signer());
        }
        let verified = signers.into_iter().find_map(|trusted| Some((trusted, signed.verify(&trusted.key)?)));
        let Some((trusted, content)) = verified else { return Err(NotSigned::Forged) };
        let document = Document::parse(content).map_err(|what| NotSigned::NoDocument { what })?;
        match &trusted.region {
            Some(region) if *region != document.region => Err(NotSigned::Region {
                certificate: region.to_string(),
                document: document.region.to_string(),
            }),
            _ => Ok(document),
        }
    }
}

impl Trusted {
    fn is(&self, signer: &Signer) -> bool {
        match signer {
            Signer::ByNumber(number) => self.number == *number,
            Signer::ByKey(id) => self.key_id.as_deref() == Some(id.as_bytes()),
        }
    }
}

fn trusted(region: Option<&Region>, certificate: &Certificate) -> Result<Trusted, TrustError> {
    let certificate = certificate.tbs_certificate();
    let info = certificate.subject_public_key_info();
    let key = info.subject_public_key.as_bytes().filter(|_| info.algorithm.oid == RSA);
    // What ring verifies with has at least 2048 bits, and so has its encoding at least 256 bytes.
    let Some(key) = key.filter(|key| key.len() >= 2048 / 8) else { return Err(TrustError::NotRsa) };
    let key_id = certificate
        .extensions()
        .and_then(|all| all.iter().find(|extension| extension.extn_id == SUBJECT_KEY_ID))
        .and_then(|extension| der::asn1::OctetString::from_der(extension.extn_value.as_bytes()).ok())
        .map(|id| id.as_bytes().to_vec());
    Ok(Trusted {
        region: region.cloned(),
        number: NameAndNumber {
            issuer: certificate.issuer().clone(),
            serial: certificate.serial_number().clone(),
        },
        key_id,
        key: key.to_vec(),
    })
}
