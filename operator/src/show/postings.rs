//! The history of an account: its postings, each with what it was of and who caused it.

use shared::ledger::{Cause, Posted};

use super::{Length, refunded_by};
use crate::screen::{Cell, Output, Section, Sheet};

/// Adds an account's history to what is shown of it, or its last steps.
pub fn history(sheet: &mut Sheet, postings: &[Posted<'_>], length: Length, output: Output) {
    let hidden = length.hidden(output, postings.len());
    if hidden > 0 {
        sheet.note(format!("{hidden} earlier postings are not shown: --all does"));
    }
    let columns = &["#", "time", "amount", "before", "after"];
    let mut history = Section::new("history", columns, &["what", "of", "by", "because"]);
    for posted in postings.iter().skip(hidden) {
        let posting = posted.posting();
        let (at, amount, told) = step(posted);
        let numbers = [
            Cell::Count(posting.sequence),
            Cell::Time(at),
            Cell::Amount(amount),
            Cell::amount(posting.before),
            Cell::amount(posting.after),
        ];
        history.row(numbers.into_iter().chain(told).collect::<Vec<_>>());
    }
    sheet.section(history);
}

/// When it was, of how much; what, of what, by whom, and why.
fn step(posted: &Posted<'_>) -> (u64, String, [Cell; 4]) {
    match posted {
        Posted::Debit(debit, taking) => {
            let of = format!("bet {}\nround {}", debit.key.id, debit.round);
            let told = [Cell::text("taken"), Cell::text(of), Cell::text("an entry"), Cell::Nothing];
            (taking.at, debit.amount.to_string(), told)
        }
        Posted::Refund(debit, refund) => {
            let of = format!("bet {}", debit.key.id);
            let by = refunded_by(refund);
            let told = [Cell::text("refunded"), Cell::text(of), Cell::text(by), Cell::Nothing];
            (refund.at, refund.amount.to_string(), told)
        }
        Posted::Movement(movement) => {
            let (what, of) = (Cell::text(movement.direction.as_str()), Cell::text(&movement.key.id));
            let told = [what, of, Cell::text("an entry"), Cell::text(&movement.reason)];
            (movement.at, movement.amount.to_string(), told)
        }
        Posted::Funds(batch, funds, cause) => {
            let (what, by) = match cause {
                Cause::Hold { .. } => ("held", "its merchant's call"),
                _ => ("released", "the ledger"),
            };
            let of = format!("batch {}", batch.key.id);
            let told = [Cell::text(what), Cell::text(of), Cell::text(by), Cell::Nothing];
            (funds.at, funds.amount.to_string(), told)
        }
    }
}
