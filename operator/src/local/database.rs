//! The embedded DynamoDB, served on a port of its own so that other tools can use it too.

use std::path::Path;

use anyhow::{Context, Result, anyhow};
use dynoxide::Database;
use tokio::net::TcpListener;
use tokio::sync::watch;

/// Opens the database in `file`, or one in memory. In a file, what was answered is on disk: SQLite's
/// write-ahead log survives the process being killed.
pub fn open(file: Option<&Path>) -> Result<Database> {
    let path = match file {
        Some(file) => file.to_str().context("the data file's path must be UTF-8")?.to_owned(),
        // By a name of its own, so that a second connection reaches it.
        None => format!("file:refunds-{:032x}?mode=memory&cache=shared", fastrand::u128(..)),
    };
    let database =
        Database::new(&path).map_err(|error| anyhow!("{path} can't be used as data file: {error}"))?;
    let connection = rusqlite::Connection::open(&path)?;
    connection.execute_batch(STREAM_INDEX).context("the stream's index")?;
    Ok(database)
}

/// The embedded store looks for a stream's last record at each write. Without this index it looks through
/// all of them, and each write takes longer than the one before.
const STREAM_INDEX: &str = "CREATE INDEX IF NOT EXISTS refunds_stream_records \
     ON _stream_records (table_name, CAST(sequence_number AS INTEGER))";

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
