//! Which table and which gateway a command works with: the running local stack, unless told otherwise.

use std::time::Duration;

use anyhow::Result;
use clap::Args;
use shared::ledger::TenantKey;
use shared::store::{self, Deadline, Session, Store};

use crate::template::Template;

pub const GATEWAY_PORT: u16 = 8787;
pub const DYNAMODB_PORT: u16 = 8788;

/// How long a command tries to reach a table before it gives up.
const PATIENCE: Duration = Duration::from_secs(5);

pub fn gateway_url() -> String {
    format!("http://127.0.0.1:{GATEWAY_PORT}")
}

pub fn dynamodb_url() -> String {
    format!("http://127.0.0.1:{DYNAMODB_PORT}")
}

#[derive(Debug, Clone, Default, Args)]
pub struct TableOptions {
    /// DynamoDB to use [default: the local stack's; with --table and AWS settings, AWS]
    #[arg(long, value_name = "URL")]
    pub endpoint: Option<String>,
    /// Table to use [default: the local stack's]
    #[arg(long, value_name = "NAME")]
    pub table: Option<String>,
}

impl TableOptions {
    /// The table; says on stderr where it is, unless it is the local stack's.
    pub async fn store(&self) -> Result<Store> {
        let table = match &self.table {
            Some(table) => table.clone(),
            None => Template::built_in()?.table.table_name,
        };
        let local = dynamodb_url();
        let endpoint = match &self.endpoint {
            Some(url) => Some(url.as_str()),
            // Only a table that was named, never one that settings alone point to.
            None if self.table.is_some() && has_aws_settings() => None,
            None => Some(local.as_str()),
        };
        match endpoint {
            None => eprintln!("table {table} in AWS, by your AWS settings"),
            Some(url) if self.endpoint.is_some() => eprintln!("table {table} at {url}"),
            Some(url) if self.table.is_some() => {
                eprintln!("table {table} at {url}, the local stack: there are no AWS settings");
            }
            Some(_) => {}
        }
        Ok(Store::new(store::client(endpoint).await, &table))
    }
}

/// A session for one step of a command.
pub fn session(store: &Store) -> Session {
    store.session(Deadline::after(PATIENCE))
}

/// How long a command works on what is large, or waits for others: below the two minutes for which it takes a batch on.
const LONG_PATIENCE: Duration = Duration::from_secs(60);

/// A session for a command that takes its time, once the table has answered at all.
///
/// # Errors
/// If it does not answer in the time of [`session`].
pub async fn long_session(store: &Store) -> Result<Session> {
    session(store).settings(&TenantKey::new("none", "")).await?;
    Ok(store.session(Deadline::after(LONG_PATIENCE)))
}

/// Whether the SDK would find a region or credentials: in variables, or in the files of a home folder.
fn has_aws_settings() -> bool {
    let settings = [
        "AWS_PROFILE",
        "AWS_REGION",
        "AWS_DEFAULT_REGION",
        "AWS_ACCESS_KEY_ID",
        "AWS_CONFIG_FILE",
        "AWS_SHARED_CREDENTIALS_FILE",
        "AWS_WEB_IDENTITY_TOKEN_FILE",
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
        "AWS_ENDPOINT_URL",
        "AWS_ENDPOINT_URL_DYNAMODB",
    ];
    let has_file =
        |name: &str| std::env::home_dir().is_some_and(|home| home.join(".aws").join(name).exists());
    settings.into_iter().any(is_set) || has_file("config") || has_file("credentials")
}

fn is_set(variable: &str) -> bool {
    std::env::var_os(variable).is_some_and(|value| !value.is_empty())
}

/// Whether a URL names this machine's loopback interface.
pub fn is_loopback(url: &str) -> bool {
    let host = url.parse::<axum::http::Uri>().ok().and_then(|uri| uri.host().map(str::to_owned));
    let is_loopback = |host: &str| {
        let address = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
        host == "localhost" || address.is_ok_and(|address| address.is_loopback())
    };
    host.as_deref().is_some_and(is_loopback)
}

/// What to add to a command for it to reach `url`, where that isn't the `default`.
pub fn options_for(url: &str, default: &str) -> String {
    if url == default { String::new() } else { format!(" --endpoint {url}") }
}
