//! An app in a mode: the tenant of Ping++'s calls. A secret key names its apps, and by its prefix the mode.

use std::fmt;
use std::str::FromStr;

use rsa::RsaPublicKey;
use rsa::pkcs1v15::{Signature, VerifyingKey};
use rsa::pkcs8::DecodePublicKey;
use rsa::signature::Verifier;
use rsa::traits::PublicKeyParts;
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use super::PROVIDER;
use crate::ledger::{
    AccountKey, ChargeId, ChargeKey, CredentialKey, Currency, FundingSource, InvalidMoney, TenantKey,
};
use crate::limits;

/// What an app is called by: 1 to 64 letters, digits, or `_-`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AppId(String);

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be 1 to 64 letters, digits, or _ -")]
pub struct InvalidAppId;

/// The tenant of an app's id, as a key on record names it.
pub fn tenant_of(app: &str, mode: Mode) -> TenantKey {
    TenantKey::in_mode(PROVIDER, app, mode.as_str())
}

impl AppId {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn tenant(&self, mode: Mode) -> TenantKey {
        TenantKey::in_mode(PROVIDER, &self.0, mode.as_str())
    }

    /// The app and the mode that a tenant is.
    pub fn of_tenant(tenant: &TenantKey) -> Option<(Self, Mode)> {
        let (id, mode) = tenant.as_str().strip_prefix(PROVIDER)?.strip_prefix('#')?.split_once('#')?;
        let mode = [Mode::Test, Mode::Live].into_iter().find(|known| known.as_str() == mode)?;
        Some((id.parse().ok()?, mode))
    }

    pub fn charge(&self, mode: Mode, id: ChargeId) -> ChargeKey {
        ChargeKey { tenant: self.tenant(mode), id }
    }

    pub fn funds(&self, mode: Mode, source: FundingSource) -> AccountKey {
        self.tenant(mode).account(source.as_str())
    }
}

impl FromStr for AppId {
    type Err = InvalidAppId;

    fn from_str(text: &str) -> Result<Self, InvalidAppId> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
        let is_valid = (1..=64).contains(&text.len()) && text.bytes().all(is_plain);
        if is_valid { Ok(Self(text.to_owned())) } else { Err(InvalidAppId) }
    }
}

impl fmt::Display for AppId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether money is real. Nothing of one mode is seen in the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mode {
    Test,
    Live,
}

impl Mode {
    pub fn of(livemode: bool) -> Self {
        if livemode { Self::Live } else { Self::Test }
    }

    pub fn is_live(self) -> bool {
        self == Self::Live
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Test => "test",
            Self::Live => "live",
        }
    }
}

/// A secret key: `sk_test_…` or `sk_live_…`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SecretKey {
    pub mode: Mode,
    /// What the key is looked up by; the key itself is not kept.
    pub credential: CredentialKey,
}

/// Not a secret key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "must be sk_test_ or sk_live_ and {} to {} letters and digits",
    limits::SECRET_CHARS_MIN,
    limits::TEXT_CHARS_MAX
)]
pub struct InvalidSecretKey;

impl FromStr for SecretKey {
    type Err = InvalidSecretKey;

    fn from_str(text: &str) -> Result<Self, InvalidSecretKey> {
        let modes = [("sk_test_", Mode::Test), ("sk_live_", Mode::Live)];
        let of_mode = modes.into_iter().find_map(|(prefix, mode)| Some((text.strip_prefix(prefix)?, mode)));
        let (secret, mode) = of_mode.ok_or(InvalidSecretKey)?;
        let length = limits::SECRET_CHARS_MIN..=limits::TEXT_CHARS_MAX;
        if length.contains(&secret.len()) && secret.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            Ok(Self { mode, credential: CredentialKey::new(PROVIDER, text) })
        } else {
            Err(InvalidSecretKey)
        }
    }
}

/// An app's settings, as they are stored.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AppSettings {
    pub app: String,
    pub livemode: bool,
    pub currency: String,
    /// PEM; requests that are signed must be so by this key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public_key: Option<String>,
    /// Whether a request without a signature is refused.
    #[serde(default)]
    pub require_signature: bool,
    #[serde(default = "enabled")]
    pub enabled: bool,
}

fn enabled() -> bool {
    true
}

/// Why settings can't be used.
#[derive(Debug, thiserror::Error)]
pub enum InvalidApp {
    #[error("not an app's settings: {0}")]
    Json(#[from] serde_json::Error),
    #[error("app {0}")]
    Id(#[from] InvalidAppId),
    #[error("currency {0}")]
    Currency(InvalidMoney),
    #[error("publicKey: not an RSA public key in PEM (-----BEGIN PUBLIC KEY-----)")]
    Key,
    #[error("publicKey: a key of {0} bits; {min} is the least", min = App::KEY_BITS_MIN)]
    KeyTooShort(usize),
    #[error("requireSignature needs a publicKey")]
    NoKey,
}

/// An app in a mode, ready for use.
#[derive(Debug, Clone)]
pub struct App {
    pub id: AppId,
    pub mode: Mode,
    pub currency: Currency,
    public_key: Option<VerifyingKey<Sha256>>,
    pub requires_signature: bool,
    pub enabled: bool,
}

impl App {
    const KEY_BITS_MIN: usize = 1024;

    /// Of settings as they are stored.
    ///
    /// # Errors
    /// Names the member that is wrong, and why.
    pub fn from_json(settings: &str) -> Result<Self, InvalidApp> {
        Self::new(&serde_json::from_str(settings)?)
    }

    /// # Errors
    /// Names the member that is wrong, and why.
    pub fn new(settings: &AppSettings) -> Result<Self, InvalidApp> {
        let public_key = settings.public_key.as_deref().map(|pem| {
            let key = RsaPublicKey::from_public_key_pem(pem.trim()).map_err(|_| InvalidApp::Key)?;
            let bits = key.n().bits();
            if bits < Self::KEY_BITS_MIN {
                Err(InvalidApp::KeyTooShort(bits))
            } else {
                Ok(VerifyingKey::new(key))
            }
        });
        let public_key = public_key.transpose()?;
        if settings.require_signature && public_key.is_none() {
            return Err(InvalidApp::NoKey);
        }
        Ok(Self {
            id: settings.app.parse()?,
            mode: Mode::of(settings.livemode),
            // Ping++ writes currencies in lower case, the ledger in upper case.
            currency: settings.currency.to_ascii_uppercase().parse().map_err(InvalidApp::Currency)?,
            public_key,
            requires_signature: settings.require_signature,
            enabled: settings.enabled,
        })
    }

    pub fn tenant(&self) -> TenantKey {
        self.id.tenant(self.mode)
    }

    /// Whether the app has registered a public key.
    pub fn has_key(&self) -> bool {
        self.public_key.is_some()
    }

    /// Whether `signature` is the app's over `message`.
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        let Some(key) = &self.public_key else { return false };
        Signature::try_from(signature).is_ok_and(|signature| key.verify(message, &signature).is_ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_key_tells_its_mode_and_is_kept_as_its_hash() {
        let key: SecretKey = "sk_test_ibbTe5jLGCi5rzfH4OqPW9KC".parse().unwrap();
        assert_eq!(key.mode, Mode::Test);
        assert!(!format!("{key:?}").contains("ibbTe5"));
        assert_eq!("sk_live_ibbTe5jLGCi5rzfH4OqPW9KC".parse::<SecretKey>().unwrap().mode, Mode::Live);
        for text in
            ["", "sk_test_", "sk_test_short", "pk_test_ibbTe5jLGCi5rzfH4OqPW9KC", "sk_test_ibbTe5jLGCi5rzfH#"]
        {
            assert_eq!(text.parse::<SecretKey>(), Err(InvalidSecretKey), "{text}");
        }
    }

    #[test]
    fn an_apps_modes_are_tenants_of_their_own() {
        let app: AppId = "app_1Gqj58ynP0mHeX1q".parse().unwrap();
        assert_eq!(app.tenant(Mode::Test).as_str(), "pingpp#app_1Gqj58ynP0mHeX1q#test");
        assert_ne!(app.tenant(Mode::Test), app.tenant(Mode::Live));
        for mode in [Mode::Test, Mode::Live] {
            assert_eq!(AppId::of_tenant(&app.tenant(mode)), Some((app.clone(), mode)));
        }
        assert_eq!(AppId::of_tenant(&TenantKey::new("epay", "demo")), None);
        assert!("a#b".parse::<AppId>().is_err());
    }

    #[test]
    fn settings_that_can_not_work_say_why() {
        let settings = |public_key: Option<&str>, require_signature| AppSettings {
            app: "app_1".to_owned(),
            livemode: false,
            currency: "cny".to_owned(),
            public_key: public_key.map(str::to_owned),
            require_signature,
            enabled: true,
        };
        assert_eq!(App::new(&settings(None, false)).unwrap().currency.as_str(), "CNY");
        assert!(matches!(App::new(&settings(None, true)), Err(InvalidApp::NoKey)));
        assert!(matches!(App::new(&settings(Some("secret"), false)), Err(InvalidApp::Key)));
    }
}
