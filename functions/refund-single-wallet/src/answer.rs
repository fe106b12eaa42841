//! The answer: one status for the request, one for each item, and the wallet around the refunds.

use std::collections::HashMap;

use rust_decimal::Decimal;
use serde::Serialize;
use shared::ebet::{Code, Item, JsonMoney, Numbered};
use shared::ledger::{Refund, RefundedBy, Verdict};
use shared::store::Refunds;

use crate::request::SingleRefund;

/// What only a request that reached the ledger is told.
#[derive(Debug)]
pub struct Told {
    results: Vec<ItemResult>,
    refunded: Decimal,
    /// Before and after, of the request's player; none if the player is unknown.
    balances: Option<(Decimal, Decimal)>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Wire<'a> {
    status: u16,
    seq_no: &'a str,
    event: &'a str,
    timestamp: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    money_before: Option<JsonMoney>,
    #[serde(skip_serializing_if = "Option::is_none")]
    money_after: Option<JsonMoney>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refund_money: Option<JsonMoney>,
    #[serde(skip_serializing_if = "Option::is_none")]
    result_list: Option<&'a [ItemResult]>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ItemResult {
    refund_seq_no: String,
    status: u16,
}

/// The request's status, and what it is told.
pub fn tell(request: &SingleRefund<'_>, refunds: &Refunds) -> (Code, Told) {
    let codes: Vec<Code> = refunds.verdicts.iter().map(Code::from).collect();
    let status = overall(&codes);

    // By account and posting number, so that a bet asked for twice counts once.
    let mut credited: HashMap<_, &Refund> = HashMap::new();
    for (item, verdict) in request.asked.items.iter().zip(&refunds.verdicts) {
        if let (Some(asked), Verdict::Refunded(refund)) = (item.asked(), verdict)
            && refund.by == RefundedBy::Provider
        {
            credited.insert((&asked.debit.account, refund.posting.sequence), refund);
        }
    }
    let player = request.asked.balance_of.as_ref();
    let postings = || {
        let of_player = credited.iter().filter(|((account, _), _)| Some(*account) == player);
        of_player.map(|(_, refund)| &refund.posting)
    };
    let first = postings().min_by_key(|posting| posting.sequence);
    let last = postings().max_by_key(|posting| posting.sequence);
    let current = player.and_then(|player| refunds.accounts.get(player)).map(|account| account.balance);
    let balances = match (first, last, current) {
        (Some(first), Some(last), _) => Some((first.before.value(), last.after.value())),
        (_, _, Some(balance)) => Some((balance.value(), balance.value())),
        _ => None,
    };
    let result = |(item, code): (&Item<'_>, Code)| ItemResult {
        refund_seq_no: item.id.clone(),
        status: code.number(),
    };
    let told = Told {
        results: request.items.iter().zip(codes).map(result).collect(),
        refunded: credited.values().map(|refund| refund.amount.value()).sum(),
        balances,
    };
    (status, told)
}

pub fn to_json(status: Code, numbered: &Numbered, told: Option<&Told>) -> String {
    let balances = told.and_then(|told| told.balances);
    let wire = Wire {
        status: status.number(),
        seq_no: &numbered.seq_no,
        event: &numbered.event,
        timestamp: numbered.timestamp,
        money_before: balances.map(|(before, _)| JsonMoney(before)),
        money_after: balances.map(|(_, after)| JsonMoney(after)),
        refund_money: told.map(|told| JsonMoney(told.refunded)),
        result_list: told.map(|told| told.results.as_slice()),
    };
    serde_json::to_string(&wire).unwrap_or_default()
}

/// The request's status: busy while anything is undecided, so that eBET sends again; ok if anything was
/// refunded; else why not.
fn overall(codes: &[Code]) -> Code {
    if codes.contains(&Code::Busy) {
        return Code::Busy;
    }
    let refunded = codes.iter().any(|code| matches!(code, Code::Ok | Code::AlreadyRefunded));
    if refunded { Code::Ok } else { codes.first().copied().unwrap_or(Code::BadParameters) }
}
