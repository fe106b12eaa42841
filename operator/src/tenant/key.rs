//! Keys of tenants: secrets, which are shown once, and public keys; and how people name one that is not shown.

use std::fmt;
use std::io::{self, IsTerminal as _, Read as _, Write as _};
use std::path::Path;
use std::str::FromStr;

use anyhow::{Context, Result};
use rsa::pkcs8::{Document, LineEnding};
use rsa::rand_core::{OsRng, RngCore as _};
use sha2::{Digest, Sha256};

use super::wrong;
use crate::screen::hex;
use crate::tell;

/// Letters and digits of a new secret: 238 bits, which nobody guesses.
const SECRET_LENGTH: usize = 40;

const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// Below it each character has as many bytes as any other; bytes from it on would make some likelier.
const FAIR_BELOW: usize = 256 / ALPHABET.len() * ALPHABET.len();

/// Longest file that is looked at for a key, in bytes.
const KEY_FILE_BYTES_MAX: u64 = 64 * 1024;

const PUBLIC_KEY: &str = "PUBLIC KEY";

/// By how many digits of its hash a secret is called, where that tells it from the tenant's others.
pub const SECRET_DIGITS: usize = 8;

/// By how many digits of its hash a public key is called: its fingerprint.
pub const FINGERPRINT_DIGITS: usize = 16;

/// A tenant's secret. It has no Debug, so that nothing shows it by mistake.
pub struct Secret {
    text: String,
    /// Made here, and known to nobody yet.
    pub is_new: bool,
}

impl Secret {
    /// The one in `file`; without one, a new one that begins with `prefix`.
    pub fn take(file: Option<&Path>, prefix: &str) -> Result<Self> {
        match file {
            Some(file) => Ok(Self { text: existing(file)?, is_new: false }),
            None => Ok(Self { text: format!("{prefix}{}", random()?), is_new: true }),
        }
    }

    pub fn text(&self) -> &str {
        &self.text
    }

    /// Shows it if it is new: alone on a line of standard output.
    pub fn show(&self) -> Result<()> {
        if !self.is_new {
            return Ok(());
        }
        tell!("the new key, shown only this once; of it the hash alone is kept:");
        let mut output = io::stdout().lock();
        writeln!(output, "{}", self.text)?;
        output.flush()?;
        Ok(())
    }
}

/// Letters and digits, each as likely as any other.
fn random() -> Result<String> {
    let mut text = String::new();
    let mut bytes = [0; 64];
    while text.len() < SECRET_LENGTH {
        OsRng.try_fill_bytes(&mut bytes).context("the system has no random numbers")?;
        let missing = SECRET_LENGTH - text.len();
        let fair = bytes.iter().map(|byte| usize::from(*byte)).filter(|byte| *byte < FAIR_BELOW);
        let characters = fair.filter_map(|byte| ALPHABET.get(byte % ALPHABET.len()));
        text.extend(characters.take(missing).map(|character| char::from(*character)));
    }
    Ok(text)
}

/// The secret in a file, or on standard input; asked for where that is a terminal.
fn existing(file: &Path) -> Result<String> {
    let mut text = String::new();
    if file.as_os_str() != "-" {
        let opened = std::fs::File::open(file);
        let read = opened.and_then(|opened| opened.take(KEY_FILE_BYTES_MAX).read_to_string(&mut text));
        read.with_context(|| format!("could not read the key {}", file.display()))?;
    } else if io::stdin().is_terminal() && io::stderr().is_terminal() {
        eprint!("the key (it is not shown): ");
        text = console::Term::stderr().read_secure_line().context("could not read the key")?;
    } else {
        let read = io::stdin().lock().take(KEY_FILE_BYTES_MAX).read_to_string(&mut text);
        read.context("could not read the key from standard input")?;
    }
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

/// The public key in a file, as PEM with nothing else of the file.
pub fn read_public_key(file: &Path) -> Result<String> {
    let text = std::fs::read_to_string(file);
    let text = text.with_context(|| format!("could not read the public key {}", file.display()))?;
    let pem = der(&text).and_then(|der| der.to_pem(PUBLIC_KEY, LineEnding::LF).ok());
    pem.ok_or_else(|| {
        wrong(format!("{} is no public key in PEM (-----BEGIN PUBLIC KEY-----)", file.display()))
    })
}

/// Writes a public key in the one way that [`read_public_key`] does; what is none stays as it is.
pub fn make_plain(pem: &mut String) {
    if let Some(plain) = der(pem).and_then(|der| der.to_pem(PUBLIC_KEY, LineEnding::LF).ok()) {
        *pem = plain;
    }
}

/// SHA-256 of a public key's DER (SPKI), in hex.
///
/// # Errors
/// If `pem` is none.
pub fn public_key_hash(pem: &str) -> Result<String> {
    let der = der(pem).context("a public key on record is none")?;
    Ok(hex(&Sha256::digest(der.as_bytes())))
}

fn der(pem: &str) -> Option<Document> {
    let (label, der) = Document::from_pem(pem.trim()).ok()?;
    (label == PUBLIC_KEY).then_some(der)
}

/// The beginning of a key's hash that tells it from `others`, of so many digits at least.
pub fn short<'a>(hash: &'a str, others: &[String], digits: usize) -> &'a str {
    let is_alone = |short: &&str| !others.iter().any(|other| other != hash && other.starts_with(*short));
    (digits..hash.len()).filter_map(|digits| hash.get(..digits)).find(is_alone).unwrap_or(hash)
}

/// The beginning of a key's hash, as people give it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HashPrefix(String);

impl HashPrefix {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for HashPrefix {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_hash = text.bytes().all(|byte| byte.is_ascii_hexdigit());
        match is_hash && (SECRET_DIGITS..=64).contains(&text.len()) {
            true => Ok(Self(text.to_ascii_lowercase())),
            false => Err(format!("must be the first {SECRET_DIGITS} to 64 hex digits of a key's SHA-256")),
        }
    }
}

impl fmt::Display for HashPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use rsa::RsaPrivateKey;
    use rsa::pkcs8::{EncodePrivateKey as _, EncodePublicKey as _};

    use super::*;

    #[test]
    fn a_new_secret_has_letters_and_digits_and_is_never_the_same() {
        assert_eq!((ALPHABET.len(), FAIR_BELOW), (62, 248));
        let made: Vec<Secret> = (0..100).map(|_| Secret::take(None, "sk_test_").unwrap()).collect();
        for secret in &made {
            let random = secret.text().strip_prefix("sk_test_").unwrap();
            assert_eq!(random.len(), SECRET_LENGTH);
            assert!(random.bytes().all(|byte| byte.is_ascii_alphanumeric()));
        }
        let texts: std::collections::HashSet<&str> = made.iter().map(Secret::text).collect();
        assert_eq!(texts.len(), made.len());
        let all: String = texts.into_iter().collect();
        assert!(ALPHABET.iter().all(|character| all.contains(char::from(*character))));
    }

    #[test]
    fn a_secret_in_a_file_is_taken_without_its_line_break() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "a-secret-of-its-own\r\n").unwrap();
        let secret = Secret::take(Some(file.path()), "sk_test_").unwrap();
        assert_eq!((secret.text(), secret.is_new), ("a-secret-of-its-own", false));
        assert!(Secret::take(Some(Path::new("/no/such/file")), "").is_err());
    }

    #[test]
    fn a_public_key_is_the_same_however_its_lines_are_broken_and_a_private_key_is_none() {
        let key = RsaPrivateKey::new(&mut OsRng, 512).unwrap();
        let pem = key.to_public_key().to_public_key_pem(LineEnding::LF).unwrap();
        let mut windows = format!("\n{}\n", pem.replace('\n', "\r\n"));
        assert_eq!(public_key_hash(&windows).unwrap(), public_key_hash(&pem).unwrap());
        make_plain(&mut windows);
        assert_eq!(windows, pem);

        let private = key.to_pkcs8_pem(LineEnding::LF).unwrap();
        assert!(public_key_hash(&private).is_err());
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), private.as_bytes()).unwrap();
        assert!(
            format!("{:#}", read_public_key(file.path()).unwrap_err()).contains("is no public key in PEM")
        );
    }

    #[test]
    fn a_key_is_called_by_as_many_digits_as_tell_it_from_the_others() {
        let hashes = ["2a97516c00", "2a97516c01", "9c1185a500"].map(str::to_owned);
        for (hash, called) in hashes.iter().zip(["2a97516c00", "2a97516c01", "9c1185a5"]) {
            assert_eq!(short(hash, &hashes, SECRET_DIGITS), called);
        }
        assert_eq!("2A97516C".parse::<HashPrefix>(), Ok(HashPrefix("2a97516c".to_owned())));
        for text in ["", "2a97516", "2a97516x", &"0".repeat(65)] {
            assert!(text.parse::<HashPrefix>().is_err(), "{text}");
        }
    }
}
