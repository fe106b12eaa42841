//! Where facts are kept on their way from the table to the checks: a file, so that memory stays small however large the
//! table is, and so that a reading that was interrupted goes on.

use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use rusqlite::{Connection, params};
use shared::clock;

use super::fact::{Fact, Group, Row};
use crate::scan::Position;

/// Names the layout of the file.
const LAYOUT: u32 = 2;

/// How old a reading may be that is gone on with, in milliseconds: a day. What was read then may have changed.
const GONE_ON_WITH: u64 = 24 * 60 * 60 * 1_000;

pub struct Spool {
    connection: Connection,
    path: PathBuf,
    /// Held as long as this process uses the file.
    lock: File,
    /// When the reading began, in Unix milliseconds.
    pub began: u64,
    /// Items that were read before.
    pub items: u64,
    pub read_milliunits: u64,
    /// Whether what is none of the table's was taken in.
    pub has_others: bool,
}

impl Spool {
    /// The file's spool, as far as it has come; a new one where there is none that can be gone on with, or `anew`.
    ///
    /// # Errors
    /// If the file can't be used, or another process uses it.
    pub fn open(path: &Path, segments: u32, anew: bool) -> Result<Self> {
        let lock = File::create(with_suffix(path, ".lock"))
            .with_context(|| format!("could not write beside {}", path.display()))?;
        if lock.try_lock().is_err() {
            bail!("another process is doing the same: {} is in use", path.display());
        }
        if !anew && let Ok(Some((connection, reading))) = existing(path) {
            return Ok(reading.spool(connection, path, lock));
        }
        // Also one that can't be read: it is worth nothing.
        remove(path)?;
        let connection = connect(path)?;
        connection.execute_batch(
            "CREATE TABLE fact (grp TEXT NOT NULL, ord INTEGER NOT NULL, pk TEXT NOT NULL, sk TEXT NOT NULL, \
               body BLOB NOT NULL); \
             CREATE TABLE said (grp TEXT NOT NULL, body BLOB NOT NULL, ord INTEGER NOT NULL, pk TEXT NOT NULL, \
               sk TEXT NOT NULL, PRIMARY KEY (grp, body)) WITHOUT ROWID; \
             CREATE TABLE segment (number INTEGER PRIMARY KEY, position TEXT); \
             CREATE TABLE reading (layout INTEGER, began INTEGER, last INTEGER, items INTEGER, \
               milliunits INTEGER, others INTEGER);",
        )?;
        for number in 0..segments {
            connection.execute("INSERT INTO segment VALUES (?1, '')", params![number])?;
        }
        let began = clock::unix_now();
        connection.execute(
            "INSERT INTO reading VALUES (?1, ?2, ?2, 0, 0, 0)",
            params![LAYOUT, began.cast_signed()],
        )?;
        let reading = Reading { began, items: 0, read_milliunits: 0, has_others: false };
        Ok(reading.spool(connection, path, lock))
    }

    /// Where each part of the table is to be read on.
    pub fn positions(&self) -> Result<Vec<Position>> {
        let mut statement = self.connection.prepare("SELECT position FROM segment ORDER BY number")?;
        let positions = statement.query_map([], |row| row.get::<_, Option<String>>(0))?;
        let position = |position: Option<String>| match position {
            None => Position::End,
            Some(beginning) if beginning.is_empty() => Position::Beginning,
            Some(at) => Position::At(at),
        };
        positions.map(|text| Ok(position(text?))).collect()
    }

    /// Takes in what was read of a part of the table, together with where it goes on: all of it or nothing.
    pub fn take(
        &mut self,
        segment: u32,
        next: &Position,
        items: u64,
        milliunits: u64,
        rows: &[Row],
    ) -> Result<()> {
        let transaction = self.connection.transaction()?;
        for row in rows {
            put(&transaction, row)?;
        }
        let position = match next {
            Position::End => None,
            Position::Beginning => Some(""),
            Position::At(at) => Some(at.as_str()),
        };
        transaction
            .prepare_cached("UPDATE segment SET position = ?2 WHERE number = ?1")?
            .execute(params![segment, position])?;
        transaction
            .prepare_cached("UPDATE reading SET items = items + ?1, milliunits = milliunits + ?2, last = ?3")?
            .execute(params![
                items.cast_signed(),
                milliunits.cast_signed(),
                clock::unix_now().cast_signed()
            ])?;
        transaction.commit()?;
        self.items += items;
        self.read_milliunits += milliunits;
        Ok(())
    }

    /// Takes in what is none of the table's, before it is read.
    pub fn take_others(&mut self, rows: impl Iterator<Item = Result<Row>>) -> Result<()> {
        let transaction = self.connection.transaction()?;
        for row in rows {
            put(&transaction, &row?)?;
        }
        transaction.execute("UPDATE reading SET others = 1", [])?;
        transaction.commit()?;
        self.has_others = true;
        Ok(())
    }

    /// Gives each group with its facts, in their order, to `check`.
    ///
    /// # Errors
    /// If the file can't be read, or `check` fails.
    pub async fn groups(
        &self,
        mut check: impl AsyncFnMut(&Group, &mut dyn Iterator<Item = Result<Row>>) -> Result<()>,
    ) -> Result<()> {
        let mut statement = self.connection.prepare(
            "SELECT grp, ord, pk, sk, body FROM fact UNION ALL SELECT grp, ord, pk, sk, body FROM said \
             ORDER BY grp, ord, pk, sk",
        )?;
        let rows = statement.query_map([], |row| {
            let key = (row.get::<_, String>(2)?, row.get::<_, String>(3)?);
            let order = row.get::<_, i64>(1)?.cast_unsigned();
            Ok((row.get::<_, String>(0)?, order, key, row.get::<_, Vec<u8>>(4)?))
        })?;
        let mut rows = rows
            .map(|row| {
                let (group, order, key, body) = row?;
                let fact: Fact = serde_json::from_slice(&body).context("a fact in the file can't be read")?;
                Ok(Row { group, order, key, fact })
            })
            .peekable();
        while let Some(first) = rows.peek() {
            let name = match first {
                Ok(row) => row.group.clone(),
                Err(_) => match rows.next() {
                    Some(Err(error)) => return Err(error),
                    _ => continue,
                },
            };
            let group = Group::read(&name).with_context(|| format!("no group: {name}"))?;
            let is_of_group = |row: &Result<Row>| row.as_ref().is_ok_and(|row| row.group == name);
            {
                let mut of_group = std::iter::from_fn(|| rows.next_if(is_of_group));
                check(&group, &mut of_group).await?;
            }
            // What it did not look at.
            while rows.next_if(is_of_group).is_some() {}
        }
        Ok(())
    }

    /// How many facts there are.
    pub fn count(&self) -> Result<u64> {
        let count: i64 = self.connection.query_row(
            "SELECT (SELECT count(*) FROM fact) + (SELECT count(*) FROM said)",
            [],
            |row| row.get(0),
        )?;
        Ok(count.cast_unsigned())
    }

    /// Ends with it: its file is removed.
    pub fn remove(self) -> Result<()> {
        drop(self.connection);
        remove(&self.path)?;
        let _ = std::fs::remove_file(with_suffix(&self.path, ".lock"));
        drop(self.lock);
        Ok(())
    }
}

/// How far a file's reading has come.
struct Reading {
    began: u64,
    items: u64,
    read_milliunits: u64,
    has_others: bool,
}

impl Reading {
    fn spool(self, connection: Connection, path: &Path, lock: File) -> Spool {
        let Self { began, items, read_milliunits, has_others } = self;
        Spool { connection, path: path.to_owned(), lock, began, items, read_milliunits, has_others }
    }
}

/// A file that can be gone on with.
fn existing(path: &Path) -> Result<Option<(Connection, Reading)>> {
    if !path.exists() {
        return Ok(None);
    }
    let connection = connect(path)?;
    let sql = "SELECT layout, last, began, items, milliunits, others FROM reading";
    let (layout, last, reading) = connection.query_row(sql, [], |row| {
        let reading = Reading {
            began: row.get::<_, i64>(2)?.cast_unsigned(),
            items: row.get::<_, i64>(3)?.cast_unsigned(),
            read_milliunits: row.get::<_, i64>(4)?.cast_unsigned(),
            has_others: row.get(5)?,
        };
        Ok((row.get::<_, u32>(0)?, row.get::<_, i64>(1)?.cast_unsigned(), reading))
    })?;
    let age = clock::unix_now().saturating_sub(last);
    Ok(Some((connection, reading)).filter(|_| layout == LAYOUT && age < GONE_ON_WITH))
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn put(connection: &Connection, row: &Row) -> Result<()> {
    let body = serde_json::to_vec(&row.fact)?;
    let (order, (partition, sort)) = (row.order.cast_signed(), &row.key);
    if row.fact.is_said_once() {
        connection
            .prepare_cached(
                "INSERT OR IGNORE INTO said (grp, body, ord, pk, sk) VALUES (?1, ?2, ?3, ?4, ?5)",
            )?
            .execute(params![row.group, body, order, partition, sort])?;
    } else {
        connection
            .prepare_cached("INSERT INTO fact (grp, ord, pk, sk, body) VALUES (?1, ?2, ?3, ?4, ?5)")?
            .execute(params![row.group, order, partition, sort, body])?;
    }
    Ok(())
}

fn connect(path: &Path) -> Result<Connection> {
    let connection = Connection::open(path).with_context(|| format!("could not open {}", path.display()))?;
    // A file of our own, which is worth nothing after a power cut: only a killed process must not harm it.
    let mode: String = connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
    ensure!(mode == "wal", "{} can't be used: journal mode {mode}", path.display());
    connection.execute_batch(
        "PRAGMA synchronous = OFF; PRAGMA cache_size = -16000; PRAGMA locking_mode = EXCLUSIVE;",
    )?;
    Ok(connection)
}

fn remove(path: &Path) -> Result<()> {
    for suffix in ["", "-wal", "-shm"] {
        let file = with_suffix(path, suffix);
        match std::fs::remove_file(&file) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("could not remove {}", file.display()));
            }
            _ => {}
        }
    }
    Ok(())
}
