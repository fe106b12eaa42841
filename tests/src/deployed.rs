//! Functions that are deployed somewhere: called through their API, as any caller calls them, on their stack's table.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use futures::future::BoxFuture;
use refundctl::send::{self, entries};
use refundctl::template::{Route, Template};
use serde_json::Value;
use shared::edge::{Function, Invocation, MalformedEvent, PROXY_KEY, Request, Response};
use tokio::sync::Mutex;

/// The stack that `REFUNDS_URL`, `DYNAMODB_ENDPOINT` and `TABLE_NAME` name, if they do. It stands behind one proxy,
/// which these tests play: `REFUNDS_PROXY_KEY` is its key.
pub static DEPLOYED: LazyLock<Option<Deployed>> = LazyLock::new(|| {
    let variable = |name| std::env::var(name).unwrap_or_else(|_| panic!("with REFUNDS_URL set {name}"));
    let url = std::env::var("REFUNDS_URL").ok()?;
    Some(Deployed {
        url,
        table: variable("TABLE_NAME"),
        proxy_key: variable("REFUNDS_PROXY_KEY"),
        secrets: variable("REFUNDS_SECRETS").into(),
        alone: Arc::default(),
    })
});

pub struct Deployed {
    url: String,
    pub table: String,
    proxy_key: String,
    /// A file to which every secret goes that is sent, as a line of JSON: none of them may be in a log.
    secrets: PathBuf,
    /// There is one table: one test at a time has it.
    pub alone: Arc<Mutex<()>>,
}

/// The function behind one route.
pub struct Remote {
    deployed: &'static Deployed,
    route: Route,
}

impl Deployed {
    /// The function that `binary` runs.
    pub fn function(&'static self, binary: &str) -> Remote {
        let routes = Template::built_in().unwrap().routes;
        let route = routes.into_iter().find(|route| route.binary == binary);
        Remote { deployed: self, route: route.unwrap_or_else(|| panic!("{binary} has no route")) }
    }

    fn keep_secrets(&self, request: &send::Request) {
        let mut secrets = vec![self.proxy_key.clone()];
        for (name, value) in &request.headers {
            if ["authorization", "x-api-key", "pingplusplus-signature"].contains(name) {
                secrets.push(value.clone());
                secrets.extend(value.split_once(' ').map(|(_, credential)| credential.to_owned()));
                // A signature by AWS's rules; a user and a password.
                secrets.extend(value.split_once("Signature=").map(|(_, signature)| signature.to_owned()));
                let basic = value.strip_prefix("Basic ").and_then(|basic| BASE64.decode(basic).ok());
                let basic = basic.and_then(|basic| String::from_utf8(basic).ok());
                secrets.extend(basic.map(|basic| basic.trim_end_matches(':').to_owned()));
            }
        }
        if let Ok(body) = serde_json::from_slice(&request.body) {
            find_secrets(&body, &mut secrets);
        }
        let mut file = OpenOptions::new().create(true).append(true).open(&self.secrets).unwrap();
        for secret in secrets {
            writeln!(file, "{}", Value::from(secret)).unwrap();
        }
    }
}

/// Signatures and tokens of a body.
fn find_secrets(value: &Value, secrets: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                let name = name.to_ascii_lowercase();
                match value.as_str() {
                    Some(text) if name.contains("signature") || name.contains("token") => {
                        secrets.push(text.to_owned());
                    }
                    _ => find_secrets(value, secrets),
                }
            }
        }
        Value::Array(values) => values.iter().for_each(|value| find_secrets(value, secrets)),
        _ => {}
    }
}

impl Remote {
    async fn call(&self, request: Request) -> Response {
        let Route { method, path, is_signed, .. } = &self.route;
        // What is called by an id has it in its path.
        let path = if path.contains('{') { &request.path } else { path };
        let query = if request.query.is_empty() { String::new() } else { format!("?{}", request.query) };
        let url = format!("{}{path}{query}", self.deployed.url);
        let mut headers: Vec<(&'static str, String)> = Vec::new();
        for (name, value) in request.headers.iter().filter(|(name, _)| *name != "host") {
            headers.push((name.as_str().to_owned().leak(), value.to_str().unwrap().to_owned()));
        }
        headers.push((PROXY_KEY, self.deployed.proxy_key.clone()));
        headers.extend(request.source_ip.map(|address| ("x-forwarded-for", address.to_string())));
        let method = if method == "GET" { "GET" } else { "POST" };
        let mut request = send::Request { method, path: path.clone(), headers, body: request.body };
        if *is_signed {
            entries::sign_request(&url, &mut request).await.unwrap();
        }
        self.deployed.keep_secrets(&request);
        let answer =
            tokio::task::spawn_blocking(move || send::exchange(&url, &request)).await.unwrap().unwrap();
        Response::binary(answer.status, answer.content_type.leak(), &answer.body)
    }
}

impl Function for Remote {
    fn answer(
        &self,
        request: Result<Request, MalformedEvent>,
        _invocation: Invocation,
    ) -> BoxFuture<'_, Response> {
        Box::pin(self.call(request.expect("a gateway passes on what can be read")))
    }
}
