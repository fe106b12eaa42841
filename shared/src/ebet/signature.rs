//! eBET's signature: RSA PKCS#1 v1.5 with MD5, in base64.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use md5::Md5;
use rsa::RsaPublicKey;
use rsa::pkcs1v15::{Signature, VerifyingKey};
use rsa::pkcs8::DecodePublicKey;
use rsa::signature::Verifier;
use rsa::traits::PublicKeyParts;

/// A channel's public key. 512-bit keys are in real use at eBET, so they are accepted; what a signature
/// is worth is bounded elsewhere: only a known debit is refunded, once, and never for more than it took.
#[derive(Debug, Clone)]
pub struct PublicKey(VerifyingKey<Md5>);

#[derive(Debug, thiserror::Error)]
pub enum InvalidKey {
    #[error("not a public key in PEM (-----BEGIN PUBLIC KEY-----): {0}")]
    NotAKey(rsa::pkcs8::spki::Error),
    #[error("a key of {0} bits; 512 is the least")]
    TooShort(usize),
}

impl PublicKey {
    const BITS_MIN: usize = 512;

    /// # Errors
    /// If `pem` is not an RSA public key of 512 to 4096 bits.
    pub fn from_pem(pem: &str) -> Result<Self, InvalidKey> {
        let key = RsaPublicKey::from_public_key_pem(pem.trim()).map_err(InvalidKey::NotAKey)?;
        let bits = key.n().bits();
        if bits < Self::BITS_MIN { Err(InvalidKey::TooShort(bits)) } else { Ok(Self(VerifyingKey::new(key))) }
    }

    /// Whether `signature` (base64, with or without line breaks) is this key's over `message`.
    pub fn verifies(&self, message: &str, signature: &str) -> bool {
        let signature: String = signature.split_ascii_whitespace().collect();
        let Ok(bytes) = BASE64.decode(signature) else { return false };
        let Ok(signature) = Signature::try_from(bytes.as_slice()) else { return false };
        self.0.verify(message.as_bytes(), &signature).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A real one of eBET's, for another of its calls.
    const KEY: &str = "-----BEGIN PUBLIC KEY-----\n\
        MFwwDQYJKoZIhvcNAQEBBQADSwAwSAJBAI/JXfdisVlaGUgDxNPQaDqvaHH3KD+9\n\
        1gc2LspRBlK8uSM8aFfojtqeXq7Gqq2N74zT6uaYOYoZf/OTTIN1/ZUCAwEAAQ==\n\
        -----END PUBLIC KEY-----\n";
    const MESSAGE: &str = "5ebb985c0f2467db77e76864c70f8b4aincreaseCredit9201561704014733iftest-10";
    const SIGNATURE: &str =
        "b6mrUCFhI3FPteREYGcjx3HTdu4JJ5wARnM3FbDouFBO0CW8DvDBk02p/YbTSf4sD6aXAomeO0Q+JDI7OTkFTg==";

    #[test]
    fn ebets_own_signature_verifies_in_one_line_or_two() {
        let key = PublicKey::from_pem(KEY).unwrap();
        assert!(key.verifies(MESSAGE, SIGNATURE));
        let (first, second) = SIGNATURE.split_at(76);
        assert!(key.verifies(MESSAGE, &format!("{first}\r\n{second}\n")));
    }

    #[test]
    fn anything_else_does_not_verify_and_does_not_panic() {
        let key = PublicKey::from_pem(KEY).unwrap();
        let swapped = SIGNATURE.replace("b6m", "m6b");
        let long = "A".repeat(4_000);
        for (message, signature) in [
            ("", SIGNATURE),
            (&MESSAGE[1..], SIGNATURE),
            (MESSAGE, ""),
            (MESSAGE, "!"),
            (MESSAGE, "AAAA"),
            (MESSAGE, &SIGNATURE[..80]),
            (MESSAGE, &swapped),
            (MESSAGE, &long),
        ] {
            assert!(!key.verifies(message, signature), "{message:?} {signature:?}");
        }
    }

    #[test]
    fn keys_that_are_none_are_refused() {
        let truncated = KEY.replace("MFww", "");
        for pem in ["", "secret", &truncated, "-----BEGIN PUBLIC KEY-----\n-----END PUBLIC KEY-----"] {
            assert!(PublicKey::from_pem(pem).is_err(), "{pem:?}");
        }
    }
}
