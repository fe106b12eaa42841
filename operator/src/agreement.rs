//! Asking before money or settings are changed, and putting on record who did it, and why.

use std::fmt;
use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

use anyhow::{Context, Result};
use clap::Args;
use shared::clock;
use shared::ledger::{Intervention, TenantKey};
use shared::store::Store;

use crate::screen::plain;
use crate::target::{TableOptions, session};
use crate::tell;

/// Longest reason that is put on record, in characters.
const REASON_CHARS_MAX: usize = 500;

/// How a command that changes something is agreed to.
#[derive(Debug, Clone, Default, Args)]
pub struct Agreement {
    /// Show what would change, and change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Don't ask
    #[arg(long, short)]
    pub yes: bool,
    /// Why, for the record
    #[arg(long, value_name = "TEXT", value_parser = reason)]
    pub reason: Option<String>,
}

fn reason(text: &str) -> Result<String, String> {
    match text.trim().chars().count() {
        _ if text.chars().any(char::is_control) => Err("has a control character".to_owned()),
        0 => Err("is empty".to_owned()),
        count if count > REASON_CHARS_MAX => Err(format!("is longer than {REASON_CHARS_MAX} characters")),
        _ => Ok(text.trim().to_owned()),
    }
}

/// The command can't be carried out as it was given: exit code 2.
#[derive(Debug)]
pub struct WrongUsage(pub String);

impl fmt::Display for WrongUsage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for WrongUsage {}

/// Nothing was changed, because nobody agreed to it: exit code 1.
#[derive(Debug)]
pub struct Declined;

impl fmt::Display for Declined {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("nothing was changed")
    }
}

impl std::error::Error for Declined {}

/// Who agreed to a change, and why.
#[derive(Debug, Clone)]
pub struct Agreed {
    pub by: String,
    pub reason: String,
}

impl Agreement {
    /// Shows what would change, on stderr, and asks. None with `--dry-run`: then nothing is to be changed.
    ///
    /// # Errors
    /// If it is not agreed to, or nobody is there to be asked.
    pub async fn ask(&self, table: &TableOptions, changes: &[String]) -> Result<Option<Agreed>> {
        let verb = if self.dry_run { "would change" } else { "to change" };
        for change in changes {
            tell!("{verb}: {}", plain(change));
        }
        if self.dry_run {
            tell!("nothing was changed: this is a dry run");
            return Ok(None);
        }
        let has_people = io::stdin().is_terminal() && io::stderr().is_terminal();
        let why = match &self.reason {
            Some(why) => why.clone(),
            None if has_people => {
                let told = answer("why? (for the record) ")?;
                reason(&told).map_err(|wrong| WrongUsage(format!("the reason {wrong}")))?
            }
            None => return Err(WrongUsage("say why, for the record: --reason TEXT".to_owned()).into()),
        };
        if !self.yes {
            if !has_people {
                let what = "nobody is there to be asked: --yes agrees, --dry-run only shows";
                return Err(WrongUsage(what.to_owned()).into());
            }
            if !matches!(answer("change it? [y/N] ")?.trim().to_lowercase().as_str(), "y" | "yes") {
                return Err(Declined.into());
            }
        }
        Ok(Some(Agreed { by: table.who().await?, reason: why }))
    }
}

/// What a person answers to a question on the terminal.
fn answer(question: &str) -> Result<String> {
    crate::screen::told(question);
    io::stderr().flush()?;
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line).context("nothing was changed: there was no answer")?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

impl Agreed {
    /// Does something, with who did it, why, and what it came to on record with `tenant`. The record comes first: what
    /// can't be recorded is not done.
    ///
    /// # Errors
    /// If it can't be recorded, or what is done fails; that is recorded too.
    pub async fn do_it<T: Outcome>(
        &self,
        store: &Store,
        tenant: &TenantKey,
        subject: &str,
        action: &str,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let intervention = self.begin(store, tenant, subject, action).await?;
        let done = work.await;
        let outcome = match &done {
            Ok(done) => done.outcome(),
            Err(error) => format!("error: {error:#}"),
        };
        end(store, &intervention, &outcome).await;
        done
    }

    /// Puts on record what is about to be done, by whom, and why.
    ///
    /// # Errors
    /// If it can't be: then it must not be done.
    pub async fn begin(
        &self,
        store: &Store,
        tenant: &TenantKey,
        subject: &str,
        action: &str,
    ) -> Result<Intervention> {
        let intervention = Intervention {
            tenant: tenant.clone(),
            subject: subject.to_owned(),
            action: action.to_owned(),
            by: self.by.clone(),
            reason: self.reason.clone(),
            at: clock::unix_now(),
            id: format!("{:016x}", fastrand::u64(..)),
            outcome: None,
        };
        let recorded = session(store).record_intervention(&intervention).await;
        recorded.context("nothing was changed: who and why could not be put on record")?;
        Ok(intervention)
    }
}

/// Puts on record what something came to. What is done is done: where that fails nothing else does, and the subject
/// tells.
pub async fn end(store: &Store, intervention: &Intervention, outcome: &str) {
    let outcome: String = outcome.chars().take(1_000).collect();
    if let Err(error) = session(store).record_outcome(intervention, &outcome).await {
        tell!("warning: what it came to could not be put on record with who and why: {error}");
    }
}

/// What something came to, in a line for the record.
pub trait Outcome {
    fn outcome(&self) -> String;
}

impl Outcome for String {
    fn outcome(&self) -> String {
        self.clone()
    }
}
