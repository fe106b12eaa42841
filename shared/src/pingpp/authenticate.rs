//! Who calls, and is it they? A secret key, and where the app has a public key, a signature.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::HeaderMap;
use http::header::AUTHORIZATION;

use super::{ApiError, App, AppId, Mode, SecretKey};
use crate::edge::Request;
use crate::ledger::CredentialKey;
use crate::limits;
use crate::store::{Session, SettingsCache, StoreError};

/// The headers of a signed request.
const SIGNATURE: &str = "pingplusplus-signature";
const TIMESTAMP: &str = "pingplusplus-request-timestamp";

/// What a process has seen lately of keys.
pub type Keys = SettingsCache<CredentialKey, Caller>;

/// Who has a key: its apps in the key's mode.
#[derive(Debug)]
pub struct Caller {
    pub mode: Mode,
    pub apps: Vec<App>,
}

impl Caller {
    /// The caller's app of this id.
    ///
    /// # Errors
    /// HTTP 400 if the key names no such app.
    pub fn app(&self, id: &str) -> Result<&App, ApiError> {
        let named = self.apps.iter().find(|app| app.id.as_str() == id);
        named.ok_or_else(|| ApiError::invalid("app", "The API key is not this app's."))
    }

    /// Checks the signature of a request that is about `app`, or about any of the caller's apps where that is not
    /// known yet.
    ///
    /// # Errors
    /// HTTP 401 where one is needed or there, and is not good.
    pub fn check_signature(
        &self,
        app: Option<&App>,
        request: &Request,
        now: SystemTime,
    ) -> Result<(), ApiError> {
        let apps = || self.apps.iter().filter(|own| app.is_none_or(|app| app.id == own.id));
        let header = |name: &str| request.headers.get(name).and_then(|value| value.to_str().ok());
        let Some(signature) = header(SIGNATURE) else {
            return match apps().any(|app| app.requires_signature) {
                true => Err(ApiError::unsigned("The request must be signed.")),
                false => Ok(()),
            };
        };
        // Who has registered no public key can't be checked, and has not asked to be.
        if !apps().any(App::has_key) {
            return Ok(());
        }
        let timestamp = header(TIMESTAMP).unwrap_or_default();
        let signed_at = timestamp.parse().ok().and_then(|at| UNIX_EPOCH.checked_add(Duration::from_secs(at)));
        let age = signed_at.map(|at| now.duration_since(at).unwrap_or_else(|ahead| ahead.duration()));
        if age.is_none_or(|age| age > limits::REQUEST_SIGNATURE_AGE) {
            return Err(ApiError::unsigned(
                "The request's timestamp is missing, or more than 5 minutes off.",
            ));
        }
        let signature = BASE64.decode(signature).unwrap_or_default();
        let is_good = |uri: &str| {
            let signed = [&request.body[..], uri.as_bytes(), timestamp.as_bytes()].concat();
            apps().any(|app| app.verifies(&signed, &signature))
        };
        if uris(request).iter().any(|uri| is_good(uri)) {
            Ok(())
        } else {
            Err(ApiError::unsigned("The request's signature is not good."))
        }
    }
}

/// What may have been signed as the request's URI: gateways drop a question mark with nothing behind it.
fn uris(request: &Request) -> Vec<String> {
    match request.query.as_str() {
        "" => vec![request.path.clone(), format!("{}?", request.path)],
        query => vec![format!("{}?{query}", request.path)],
    }
}

/// The caller whose key a request has.
///
/// # Errors
/// HTTP 401 without a key, or with one that is nobody's.
pub async fn authenticate(
    keys: &Keys,
    session: &Session,
    headers: &HeaderMap,
) -> Result<std::sync::Arc<Caller>, ApiError> {
    let text = secret_key(headers).ok_or_else(|| ApiError::unauthorized(None))?;
    let unauthorized = || ApiError::unauthorized(Some(&text));
    let key: SecretKey = text.parse().map_err(|_| unauthorized())?;
    let caller = keys.get(&key.credential, caller(session, &key)).await?;
    caller.ok_or_else(unauthorized)
}

/// The key of HTTP Basic (its user name) or of a Bearer token; none where there are two.
fn secret_key(headers: &HeaderMap) -> Option<String> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    let (scheme, credentials) = value.to_str().ok()?.trim().split_once(' ')?;
    match scheme.to_ascii_lowercase().as_str() {
        "bearer" => Some(credentials.trim().to_owned()),
        "basic" => {
            let decoded = String::from_utf8(BASE64.decode(credentials.trim()).ok()?).ok()?;
            let (user, _password) = decoded.split_once(':')?;
            Some(user.to_owned())
        }
        _ => None,
    }
}

/// The apps that a key names and that are there in its mode; none if it names none.
async fn caller(session: &Session, key: &SecretKey) -> Result<Option<Caller>, StoreError> {
    let Some(ids) = session.shared_credential(&key.credential).await? else { return Ok(None) };
    let mut apps = Vec::new();
    for id in ids {
        let Ok(id) = id.parse::<AppId>() else { continue };
        apps.extend(session.settings_as(&id.tenant(key.mode), App::from_json).await?);
    }
    Ok(Some(Caller { mode: key.mode, apps }))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use rsa::RsaPrivateKey;
    use rsa::pkcs1v15::SigningKey;
    use rsa::pkcs8::{EncodePublicKey, LineEnding};
    use rsa::signature::{SignatureEncoding, Signer};
    use sha2::Sha256;

    use super::super::AppSettings;
    use super::*;

    fn headers(name: &'static str, values: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(name, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    #[test]
    fn a_key_is_the_user_name_of_basic_or_a_bearer_token() {
        let key = "sk_test_ibbTe5jLGCi5rzfH4OqPW9KC";
        let basic = format!("Basic {}", BASE64.encode(format!("{key}:")));
        let bearer = format!("bearer  {key}");
        for (values, found) in [
            (vec![basic.as_str()], Some(key)),
            (vec![bearer.as_str()], Some(key)),
            (vec![bearer.as_str(), basic.as_str()], None),
            (vec![], None),
            (vec![key], None),
            (vec!["Basic !"], None),
            (vec!["Digest x"], None),
        ] {
            assert_eq!(secret_key(&headers("authorization", &values)).as_deref(), found, "{values:?}");
        }
    }

    #[test]
    fn a_signature_is_over_body_uri_and_timestamp_and_does_not_last() {
        let key = RsaPrivateKey::new(&mut rsa::rand_core::OsRng, 1024).unwrap();
        let pem = key.to_public_key().to_public_key_pem(LineEnding::LF).unwrap();
        let app = |public_key: Option<&str>, require_signature| {
            let settings = AppSettings {
                app: "app_1".to_owned(),
                livemode: false,
                currency: "cny".to_owned(),
                public_key: public_key.map(str::to_owned),
                require_signature,
            };
            Caller { mode: Mode::Test, apps: vec![App::new(&settings).unwrap()] }
        };
        let sign = |text: &str| {
            BASE64.encode(SigningKey::<Sha256>::new(key.clone()).sign(text.as_bytes()).to_bytes())
        };
        let now = UNIX_EPOCH + Duration::from_secs(1_000_000);
        let request = |query: &str, signature: Option<String>, timestamp: &str| {
            let mut headers = headers(TIMESTAMP, &[timestamp]);
            if let Some(signature) = signature {
                headers.insert(SIGNATURE, HeaderValue::from_str(&signature).unwrap());
            }
            Request {
                path: "/v1/batch_refunds".to_owned(),
                query: query.to_owned(),
                headers,
                body: "{\"a\":\"退\"}".as_bytes().to_vec(),
                source_ip: None,
                arrived: now,
            }
        };
        let (with_key, required, without) = (app(Some(&pem), false), app(Some(&pem), true), app(None, false));
        let text = |uri: &str, timestamp: &str| format!("{{\"a\":\"退\"}}{uri}{timestamp}");
        let good = || Some(sign(&text("/v1/batch_refunds", "1000000")));
        for (caller, query, signature, timestamp, is_good) in [
            (&with_key, "", good(), "1000000", true),
            (&with_key, "", Some(sign(&text("/v1/batch_refunds?", "1000000"))), "1000000", true),
            (&with_key, "a=1", Some(sign(&text("/v1/batch_refunds?a=1", "1000000"))), "1000000", true),
            (&with_key, "a=2", Some(sign(&text("/v1/batch_refunds?a=1", "1000000"))), "1000000", false),
            (&with_key, "", good(), "1000001", false),
            (&with_key, "", Some(sign(&text("/v1/batch_refunds", "999699"))), "999699", false),
            (&with_key, "", Some(sign(&text("/v1/batch_refunds", "1000300"))), "1000300", true),
            (&with_key, "", Some("AAAA".to_owned()), "1000000", false),
            (&with_key, "", Some("?".to_owned()), "1000000", false),
            (&with_key, "", None, "1000000", true),
            (&required, "", None, "1000000", false),
            (&required, "", good(), "1000000", true),
            (&without, "", good(), "1000000", true),
        ] {
            let request = request(query, signature, timestamp);
            let checked = caller.check_signature(None, &request, now);
            assert_eq!(checked.is_ok(), is_good, "{query} {timestamp} {:?}", request.headers);
            assert!(checked.err().is_none_or(|error| error.status == 401));
        }
    }
}
