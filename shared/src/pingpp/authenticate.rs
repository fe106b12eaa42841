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

/// How all routes begin.
const ROUTES: &str = "/v1/";

/// What a process has seen lately of keys.
pub type Keys = SettingsCache<CredentialKey, Caller>;

/// Who has a key: its apps in the key's mode.
#[derive(Debug)]
pub struct Caller {
    pub mode: Mode,
    pub apps: Vec<App>,
}

/// Who calls, by a request whose signature was checked by the rules of each of the key's apps.
#[derive(Debug)]
pub struct Checked<'a> {
    apps: Vec<(&'a App, Result<(), ApiError>)>,
}

impl<'a> Checked<'a> {
    /// The caller's app of this id.
    ///
    /// # Errors
    /// HTTP 400 if the key names no such app, 401 if it does not believe the request's signature.
    pub fn app(&self, id: &str) -> Result<&'a App, ApiError> {
        let named = self.apps.iter().find(|(app, _)| app.id.as_str() == id);
        let (app, checked) =
            named.ok_or_else(|| ApiError::invalid("app", "The API key is not this app's."))?;
        checked.clone().map(|()| *app)
    }

    /// All of the caller's apps that believe the request's signature.
    pub fn apps(&self) -> impl Iterator<Item = &'a App> {
        self.apps.iter().filter(|(_, checked)| checked.is_ok()).map(|(app, _)| *app)
    }

    /// The key's only app.
    pub fn only_app(&self) -> Option<&'a App> {
        match &self.apps[..] {
            [(app, Ok(()))] => Some(app),
            _ => None,
        }
    }
}

impl Caller {
    /// Checks a request's signature.
    ///
    /// # Errors
    /// HTTP 401 if none of the key's apps believes it.
    pub fn check_signature(&self, request: &Request, now: SystemTime) -> Result<Checked<'_>, ApiError> {
        let checked = |app| (app, check(app, request, now));
        let apps: Vec<(&App, Result<(), ApiError>)> = self.apps.iter().map(checked).collect();
        let refused = apps.iter().find_map(|(_, checked)| checked.as_ref().err());
        match refused {
            Some(error) if apps.iter().all(|(_, checked)| checked.is_err()) => Err(error.clone()),
            _ => Ok(Checked { apps }),
        }
    }
}

/// Checks a request that is about `app`: its signature, and whether the app may call at all.
fn check(app: &App, request: &Request, now: SystemTime) -> Result<(), ApiError> {
    check_signature(app, request, now)?;
    if app.enabled { Ok(()) } else { Err(ApiError::disabled(app.id.as_str())) }
}

/// Checks the signature of a request that is about `app`.
///
/// # Errors
/// HTTP 401 where one is needed or there, and is not good.
fn check_signature(app: &App, request: &Request, now: SystemTime) -> Result<(), ApiError> {
    // What can't be read is there, and is not good.
    let header = |name: &str| request.headers.get(name).map(|value| value.to_str().unwrap_or_default());
    let Some(signature) = header(SIGNATURE) else {
        return match app.requires_signature {
            true => Err(ApiError::unsigned("The request must be signed.")),
            false => Ok(()),
        };
    };
    // Who has registered no public key can't be checked, and has not asked to be.
    if !app.has_key() {
        return Ok(());
    }
    let timestamp = header(TIMESTAMP).unwrap_or_default();
    // Written in one way only: nothing marks where the URI ends in what is signed, and a zero of it could begin this.
    let seconds = timestamp.parse().ok().filter(|at: &u64| at.to_string() == timestamp);
    let signed_at = seconds.and_then(|at| UNIX_EPOCH.checked_add(Duration::from_secs(at)));
    let age = signed_at.map(|at| now.duration_since(at).unwrap_or_else(|ahead| ahead.duration()));
    if age.is_none_or(|age| age > limits::REQUEST_SIGNATURE_AGE) {
        return Err(ApiError::unsigned("The request's timestamp is missing, or more than 5 minutes off."));
    }
    let signature = BASE64.decode(signature).unwrap_or_default();
    let is_good = |uri: &str| {
        let signed = [&request.body[..], uri.as_bytes(), timestamp.as_bytes()].concat();
        app.verifies(&signed, &signature)
    };
    if uris(request).iter().any(|uri| is_good(uri)) {
        Ok(())
    } else {
        Err(ApiError::unsigned("The request's signature is not good."))
    }
}

/// What may have been signed as the request's URI: gateways drop a question mark with nothing behind it, and some SDKs
/// leave out what their base URL has before the route.
fn uris(request: &Request) -> Vec<String> {
    let path = request.path.as_str();
    let route = path.find(ROUTES).and_then(|start| path.get(start..)).filter(|route| *route != path);
    let paths = || [Some(path), route].into_iter().flatten();
    match request.query.as_str() {
        "" => paths().flat_map(|path| [path.to_owned(), format!("{path}?")]).collect(),
        query => paths().map(|path| format!("{path}?{query}")).collect(),
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
    // A key whose apps are gone is nobody's.
    Ok(Some(apps).filter(|apps| !apps.is_empty()).map(|apps| Caller { mode: key.mode, apps }))
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
    fn a_signature_counts_for_the_app_whose_it_is() {
        let keys: Vec<RsaPrivateKey> =
            (0..2).map(|_| RsaPrivateKey::new(&mut rsa::rand_core::OsRng, 1024).unwrap()).collect();
        let app = |id: &str, key: Option<&RsaPrivateKey>, require_signature| {
            let pem = key.map(|key| key.to_public_key().to_public_key_pem(LineEnding::LF).unwrap());
            let settings = AppSettings {
                app: id.to_owned(),
                livemode: false,
                currency: "cny".to_owned(),
                public_key: pem,
                require_signature,
                enabled: true,
            };
            App::new(&settings).unwrap()
        };
        let apps = vec![
            app("app_strict", Some(&keys[0]), true),
            app("app_signs", Some(&keys[1]), false),
            app("app_open", None, false),
        ];
        let caller = Caller { mode: Mode::Test, apps };
        let request = |path: &str, signature: Option<HeaderValue>| {
            let mut headers = headers(TIMESTAMP, &["1000000"]);
            signature.map(|signature| headers.insert(SIGNATURE, signature));
            Request {
                path: path.to_owned(),
                query: String::new(),
                headers,
                body: Vec::new(),
                source_ip: None,
                signer: None,
                arrived: UNIX_EPOCH,
            }
        };
        let by = |key: usize, uri: &str| {
            let key = SigningKey::<Sha256>::new(keys[key].clone());
            let signature = BASE64.encode(key.sign(format!("{uri}1000000").as_bytes()).to_bytes());
            Some(HeaderValue::from_str(&signature).unwrap())
        };
        let unreadable = || Some(HeaderValue::from_bytes(&[0xe9]).unwrap());
        for (path, signature, believing) in [
            ("/v1/x", by(0, "/v1/x"), &["app_strict", "app_open"][..]),
            ("/v1/x", by(1, "/v1/x"), &["app_signs", "app_open"]),
            ("/v1/x", None, &["app_signs", "app_open"]),
            ("/v1/x", unreadable(), &["app_open"]),
            ("/prod/v1/x", by(0, "/v1/x"), &["app_strict", "app_open"]),
            ("/prod/v1/x", by(0, "/prod/v1/x?"), &["app_strict", "app_open"]),
            ("/prod/v1/x", by(0, "/x"), &["app_open"]),
        ] {
            let request = request(path, signature);
            let checked =
                caller.check_signature(&request, UNIX_EPOCH + Duration::from_secs(1_000_000)).unwrap();
            let apps: Vec<&str> = checked.apps().map(|app| app.id.as_str()).collect();
            assert_eq!(apps, believing, "{path} {:?}", request.headers);
            for app in &caller.apps {
                let is_believing = believing.contains(&app.id.as_str());
                let named = checked.app(app.id.as_str());
                assert_eq!(
                    named.as_ref().map(|_| 200).unwrap_or_else(|error| error.kind.status()),
                    if is_believing { 200 } else { 401 }
                );
            }
            assert_eq!(checked.app("app_other").unwrap_err().kind.status(), 400);
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
                enabled: true,
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
                signer: None,
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
            let checked = caller.check_signature(&request, now);
            assert_eq!(checked.is_ok(), is_good, "{query} {timestamp} {:?}", request.headers);
            assert!(checked.err().is_none_or(|error| error.kind.status() == 401));
        }
    }
}
