//! Anchors: all accounts' heads, kept where those who can write to the table can't reach. Whoever rewrites a whole chain,
//! hashes and all, does not rewrite these.

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Args;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use shared::clock;
use shared::store::{Content, Store};

use super::fact::{Fact, Group, HashText, Row, anchor_order};
use crate::say;
use crate::scan::{ScanOptions, scan_all};
use crate::screen::{hex, iso_time};
use crate::target::TableOptions;

pub const EXAMPLES: &str = "\
Keep the file where nobody who can write to the table can: in another account, on paper, with a notary. A chain that is
rewritten as a whole, hashes and all, is found by comparing with it.

Examples:
  refundctl anchor heads-2026-11-22.jsonl --stage prod
  refundctl verify --anchor heads-2026-11-22.jsonl --stage prod

Exit codes: 0 written; 1 the table can't be read, or the file is there already; 2 wrong usage.";

#[derive(Debug, Args)]
pub struct Options {
    /// File to write; one that is there stays
    file: PathBuf,
    #[command(flatten)]
    scan: ScanOptions,
    #[command(flatten)]
    table: TableOptions,
}

/// The first line.
#[derive(Serialize, Deserialize)]
struct Beginning {
    anchor: u32,
    table: String,
    at: String,
}

#[derive(Serialize, Deserialize)]
struct Line {
    account: String,
    sequence: u64,
    head: HashText,
}

/// The last line: that the file is whole.
#[derive(Serialize, Deserialize)]
struct End {
    accounts: u64,
    sha256: String,
}

const LAYOUT: u32 = 1;

/// Writes lines, and remembers what it has written.
struct Hashing<W> {
    out: W,
    digest: Sha256,
}

impl<W: Write> Hashing<W> {
    fn line(&mut self, line: &impl Serialize) -> Result<()> {
        let text = serde_json::to_string(line)? + "\n";
        self.digest.update(&text);
        Ok(self.out.write_all(text.as_bytes())?)
    }
}

pub async fn command(options: &Options) -> Result<ExitCode> {
    if options.file.exists() {
        bail!("{} is there already: an anchor is never overwritten", options.file.display());
    }
    let store = options.table.store().await?;
    let (accounts, sha256) = write(&store, &options.table.place()?, options.scan, &options.file).await?;
    say!("{accounts} heads in {}", options.file.display());
    say!("sha256 of its lines {sha256}");
    Ok(ExitCode::SUCCESS)
}

/// Writes all heads to a new file; how many, and SHA-256 over its lines. `table` is what the file calls the table.
///
/// # Errors
/// If the table can't be read, or the file can't be written: then there is none.
pub async fn write(store: &Store, table: &str, options: ScanOptions, file: &Path) -> Result<(u64, String)> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
    // Beside the file, so that it comes to its place whole or not at all.
    let unfinished = tempfile::NamedTempFile::new_in(folder.unwrap_or(Path::new(".")))
        .with_context(|| format!("could not write {}", file.display()))?;
    let mut out = Hashing { out: BufWriter::new(unfinished.as_file()), digest: Sha256::new() };
    let at = iso_time(clock::unix_now());
    out.line(&Beginning { anchor: LAYOUT, table: table.to_owned(), at })?;
    let mut accounts = 0;
    scan_all(store, options, |stored| {
        if let Ok(Content::Account(account)) = &stored.content {
            accounts += 1;
            let head = HashText::of(&account.head);
            out.line(&Line { account: account.key.to_string(), sequence: account.sequence, head })?;
        }
        Ok(())
    })
    .await?;
    let sha256 = hex(&out.digest.clone().finalize());
    out.line(&End { accounts, sha256: sha256.clone() })?;
    out.out.flush()?;
    drop(out);
    unfinished.as_file().sync_all()?;
    unfinished.persist_noclobber(file).with_context(|| format!("could not write {}", file.display()))?;
    Ok((accounts, sha256))
}

/// An anchor to compare with, which is whole and as it was written.
pub struct Anchor<'a> {
    path: &'a Path,
    /// What table it is of, and when it was written.
    pub origin: String,
    /// Over its lines: tells it from others.
    pub sha256: String,
    accounts: usize,
}

impl<'a> Anchor<'a> {
    /// # Errors
    /// If the file is no anchor, or was changed or cut.
    pub fn open(path: &'a Path) -> Result<Self> {
        let mut lines = lines(path)?;
        let mut digest = Sha256::new();
        let mut pass = |line: &str| {
            digest.update(line);
            digest.update("\n");
        };
        let cut = || format!("{} is not whole: its last line is missing", path.display());
        let first = lines.next().with_context(cut)??;
        let Beginning { anchor: layout, table, at } =
            serde_json::from_str(&first).with_context(|| format!("{} is no anchor", path.display()))?;
        if layout != LAYOUT {
            bail!("{} is an anchor of layout {layout}; known is {LAYOUT}", path.display());
        }
        pass(&first);
        for (accounts, line) in lines.enumerate() {
            let line = line?;
            if let Ok(end) = serde_json::from_str::<End>(&line) {
                let sha256 = hex(&digest.finalize());
                if end.sha256 != sha256 || end.accounts != accounts as u64 {
                    bail!("{} was changed since it was written", path.display());
                }
                return Ok(Self { path, origin: format!("{table}, {at}"), sha256, accounts });
            }
            pass(&line);
        }
        bail!("{}", cut())
    }

    /// What it says, as facts.
    ///
    /// # Errors
    /// If it can't be read any more.
    pub fn rows(&self) -> Result<impl Iterator<Item = Result<Row>>> {
        let rows = lines(self.path)?.skip(1).take(self.accounts);
        Ok(rows.map(|line| {
            let text = line?;
            row(&text).with_context(|| format!("no head of an account: {text}"))
        }))
    }
}

fn row(text: &str) -> Result<Row> {
    let Line { account, sequence, head } = serde_json::from_str(text)?;
    let key = (account.clone(), "ACCOUNT".to_owned());
    let fact = Fact::Anchor { sequence, head };
    Ok(Row { group: Group::Account(account).text(), order: anchor_order(sequence), key, fact })
}

fn lines(path: &Path) -> Result<impl Iterator<Item = Result<String>>> {
    let file = File::open(path).with_context(|| format!("could not read {}", path.display()))?;
    Ok(BufReader::new(file).lines().map(|line| line.context("the anchor can't be read")))
}
