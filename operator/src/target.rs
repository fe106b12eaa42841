//! Which table and which gateway a command works with: the running local stack, unless told otherwise.

use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use shared::aws;
use shared::ledger::TenantKey;
use shared::store::{self, Deadline, Session, Store};

use crate::agreement::WrongUsage;
use crate::screen::plain;
use crate::tell;
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
    /// Stage in AWS to use, by your AWS settings: dev, staging, prod
    #[arg(long, value_name = "NAME", env = "REFUNDS_STAGE", value_parser = stage)]
    pub stage: Option<String>,
    /// DynamoDB to use [default: the local stack's; with --stage, or --table and AWS settings, AWS]
    #[arg(long, value_name = "URL", value_parser = endpoint)]
    pub endpoint: Option<String>,
    /// Table to use [default: the stage's, or the local stack's]
    #[arg(long, value_name = "NAME", value_parser = table)]
    pub table: Option<String>,
}

fn endpoint(text: &str) -> Result<String, String> {
    let uri =
        text.parse::<axum::http::Uri>().ok().filter(|uri| uri.host().is_some_and(|host| !host.is_empty()));
    match uri.and_then(|uri| uri.scheme_str().map(str::to_owned)).as_deref() {
        Some("http" | "https") => Ok(text.to_owned()),
        _ => Err(format!("must be a URL such as {}", dynamodb_url())),
    }
}

fn table(text: &str) -> Result<String, String> {
    // As DynamoDB has them.
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    match (3..=255).contains(&text.len()) && text.bytes().all(is_plain) {
        true => Ok(text.to_owned()),
        false => Err("must be 3 to 255 letters, digits, or - . _".to_owned()),
    }
}

fn stage(text: &str) -> Result<String, String> {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    // An empty variable is none.
    match text.len() <= 20 && text.bytes().all(is_plain) {
        true => Ok(text.to_owned()),
        false => Err("must be small letters, digits and -".to_owned()),
    }
}

/// What the template calls a stage's resources: the table, the event bus, and the beginning of the queue's name.
pub fn of_stage(stage: &str) -> String {
    format!("refunds-{stage}")
}

impl TableOptions {
    /// The table; says on stderr where it is, unless it is the local stack's.
    pub async fn store(&self) -> Result<Store> {
        let (table, endpoint) = (self.table()?, self.endpoint()?);
        match &endpoint {
            None => tell!("table {table} in AWS, by your AWS settings"),
            Some(url) if self.endpoint.is_some() => tell!("table {table} at {url}"),
            Some(url) if self.table.is_some() => {
                tell!("table {table} at {url}, the local stack: there are no AWS settings");
            }
            Some(_) => {}
        }
        Ok(Store::new(store::client(endpoint.as_deref()).await, &table))
    }

    /// The stage, if one is named.
    pub fn stage(&self) -> Option<&str> {
        self.stage.as_deref().filter(|stage| !stage.is_empty())
    }

    fn table(&self) -> Result<String> {
        Ok(match (&self.table, self.stage()) {
            (Some(table), _) => table.clone(),
            (None, Some(stage)) => of_stage(stage),
            (None, None) => Template::built_in()?.table.table_name,
        })
    }

    /// Where DynamoDB is; none for AWS itself.
    fn endpoint(&self) -> Result<Option<String>> {
        if let Some(url) = &self.endpoint {
            return Ok(Some(url.clone()));
        }
        match (self.stage(), &self.table) {
            (Some(stage), _) if !has_aws_settings() => Err(WrongUsage(format!(
                "stage {stage} is in AWS, and there are no AWS settings: set AWS_PROFILE, or AWS_REGION and credentials"
            ))
            .into()),
            (Some(_), _) => Ok(None),
            // Only a table that was named, never one that settings alone point to.
            (None, Some(_)) if has_aws_settings() => Ok(None),
            (None, _) => Ok(Some(dynamodb_url())),
        }
    }

    /// The table and where it is: what tells it from all others.
    pub fn place(&self) -> Result<String> {
        let region = std::env::var("AWS_REGION").or_else(|_| std::env::var("AWS_DEFAULT_REGION"));
        let profile = std::env::var("AWS_PROFILE").unwrap_or_default();
        let of_aws = || format!("AWS {profile} {}", region.unwrap_or_default());
        Ok(format!("{} at {}", self.table()?, self.endpoint()?.unwrap_or_else(of_aws)))
    }

    /// What tells the table from all others, one of the same name included that was there before, as far as may be asked.
    ///
    /// # Errors
    /// If the table can't be reached.
    pub async fn identity(&self, store: &Store) -> Result<String> {
        let identity = match session(store).identity().await {
            Err(error) if !error.passes() => String::new(),
            told => told.context("the table can't be read")?,
        };
        Ok(format!("{} {identity}", self.place()?))
    }

    /// What to add to a command for it to work with the same table.
    pub fn repeated(&self) -> String {
        let options = [
            ("--stage", self.stage()),
            ("--endpoint", self.endpoint.as_deref()),
            ("--table", self.table.as_deref()),
        ];
        let given = options.into_iter().filter_map(|(name, value)| Some(format!(" {name} {}", value?)));
        given.collect()
    }

    /// Settings for another service of AWS, where the table is: at the same endpoint if one was named.
    pub async fn aws(&self) -> Result<aws_config::SdkConfig> {
        Ok(aws::settings(self.endpoint()?.as_deref()).await)
    }

    /// Who is running this command, for the record: the user here, and where the table is in AWS the identity there.
    pub async fn who(&self) -> Result<String> {
        // What variables say is but what they say.
        let user = std::env::var("USER").map(|user| format!("{user}, ")).unwrap_or_default();
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let here = plain(&format!("{user}uid {} on {host}", rustix::process::getuid().as_raw()));
        if self.endpoint()?.as_deref().is_some_and(is_loopback) {
            return Ok(here);
        }
        let identity = aws_sdk_sts::Client::new(&self.aws().await?).get_caller_identity().send().await;
        let identity = identity
            .map_err(|error| anyhow::anyhow!(aws::with_causes(&error)))
            .context("nothing was changed: AWS did not say who you are")?;
        Ok(format!("{} ({here})", identity.arn().unwrap_or("an unnamed identity")))
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
