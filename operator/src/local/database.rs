//! The embedded DynamoDB, served on a port of its own so that other tools can use it too.

use std::path::Path;

use anyhow::{Context, Result, anyhow};
use dynoxide::Database;
use tokio::net::TcpListener;
use tokio::sync::watch;

/// Opens the database in `file`, or one in memory. In a file, what was answered is on disk: SQLite's
/// write-ahead log survives the process being killed.
pub fn open(file: Option<&Path>) -> Result<Database> {
    let Some(file) = file else {
        return Database::memory().map_err(|error| anyhow!("no database in memory: {error}"));
    };
    let path = file.to_str().context("the data file's path must be UTF-8")?;
    Database::new(path).map_err(|error| anyhow!("{path} can't be used as data file: {error}"))
}

pub async fn serve(
    listener: TcpListener,
    database: Database,
    mut stopped: watch::Receiver<bool>,
) -> Result<()> {
    let stop = async move {
        let _ = stopped.wait_for(|stopped| *stopped).await;
    };
    dynoxide::server::serve_with_shutdown(listener, database, stop).await.map_err(|error| anyhow!(error))
}
