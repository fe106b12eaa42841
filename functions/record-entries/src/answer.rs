//! Answers: one outcome an entry, or why none was looked at.

use serde::Serialize;
use serde_json::json;
use shared::edge::Response;
use shared::entries::{Outcome, OutcomeName};
use shared::ledger::Posting;

use crate::request::{Error, Said};

/// The HTTP status of a call of which no entry was looked at.
fn status(error: &Error) -> u16 {
    match error {
        Error::Unsigned => 403,
        Error::TooLarge => 413,
        Error::Malformed(_) | Error::Unreadable(_) | Error::Count(_) => 400,
    }
}

#[derive(Serialize)]
struct Answer<'a> {
    entries: Vec<Told<'a>>,
}

/// What is told of an entry.
#[derive(Serialize)]
struct Told<'a> {
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    /// Of a debit or its settlement: how the debit is now.
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    posting: Option<ToldPosting>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
}

/// Amounts are texts, as in entries, so that no reader rounds them.
#[derive(Serialize)]
struct ToldPosting {
    sequence: u64,
    before: String,
    after: String,
}

/// HTTP 200 where every entry has its outcome for good, 503 where some are to be sent again; both tell all outcomes.
pub fn response(result: &Result<Vec<(Option<Said>, Outcome)>, Error>) -> Response {
    let outcomes = match result {
        Ok(outcomes) => outcomes,
        Err(error) => {
            let body = json!({"error": {"message": error.to_string()}});
            return Response::text(status(error), "application/json", body.to_string());
        }
    };
    let entries = outcomes.iter().map(|(said, outcome)| told(said.as_ref(), outcome)).collect();
    let is_undecided = outcomes.iter().any(|(_, outcome)| matches!(outcome, Outcome::Undecided(_)));
    let body = serde_json::to_string(&Answer { entries }).unwrap_or_default();
    Response::text(if is_undecided { 503 } else { 200 }, "application/json", body)
}

fn told<'a>(said: Option<&'a Said>, outcome: &Outcome) -> Told<'a> {
    let mut told = Told {
        outcome: OutcomeName::from(outcome).into(),
        kind: said.map(|said| said.kind),
        id: said.map(|said| said.id.as_str()),
        state: None,
        posting: None,
        reason: None,
        message: None,
    };
    match outcome {
        Outcome::Recorded(on_record) | Outcome::Unchanged(on_record) => {
            told.posting = on_record.posting.as_ref().map(told_posting);
            told.state = on_record.debit.map(|debit| debit.state);
            told.message = on_record.debit.filter(|debit| debit.is_due).map(|_| REFUND_DUE.to_owned());
        }
        Outcome::Refused(refusal) => {
            told.reason = Some(refusal.code());
            told.message = Some(refusal.to_string());
        }
        Outcome::Undecided(trouble) => {
            told.message = Some(if trouble.passes() { BUSY } else { IN_TROUBLE }.to_owned());
        }
    }
    told
}

/// Of a debit of the past.
const REFUND_DUE: &str =
    "its refund was asked for before it was on record; asked for under a new number, it is made";

const BUSY: &str = "busy: send it again";

const IN_TROUBLE: &str = "the ledger can't be used now; its operators see why in the log";

fn told_posting(posting: &Posting) -> ToldPosting {
    ToldPosting {
        sequence: posting.sequence,
        before: posting.before.to_string(),
        after: posting.after.to_string(),
    }
}
