//! JSON Web Tokens, by whoever it is that a server under test believes.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use serde_json::{Value, json};

/// A token that says this, signed (ES256) by a key that is made for it.
///
/// * returns: the token, and the key's public half in PEM: what a server has to know in order to believe it.
pub fn jwt(claims: &Value) -> (String, String) {
    let key = rcgen::KeyPair::generate().expect("a key");
    let random = SystemRandom::new();
    let signer = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, key.serialized_der(), &random);
    let part = |value: &Value| BASE64.encode(value.to_string());
    let signed = format!("{}.{}", part(&json!({ "alg": "ES256", "typ": "JWT" })), part(claims));
    let signature = signer.expect("a P-256 key").sign(&random, signed.as_bytes()).expect("a signature");
    (format!("{signed}.{}", BASE64.encode(signature)), key.public_key_pem())
}
