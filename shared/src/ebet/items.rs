//! The items of a request: from their members to what the ledger is asked.

use std::collections::{HashMap, HashSet};

use rust_decimal::Decimal;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::members::{array, object};
use super::{Channel, Code, Members, Username, number, optional_text};
use crate::ledger::{
    Amount, AskedItem, AskedRefund, DebitId, DebitKey, Fingerprint, FingerprintBuilder, Refusal, RoundCode,
    exact_decimal,
};
use crate::limits;

/// The list that a call has its items in, and how it writes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum List {
    /// `refundSingleWallet`'s `refundList`: bets are `refundSeqNo`, amounts negative.
    Refund,
    /// `autoBatchRefund`'s `batchRefundList`: bets are `seqNo`, amounts positive.
    BatchRefund,
}

/// One item as it was sent, with the top level's user and round where it has none of its own.
#[derive(Debug, Clone)]
pub struct Item<'a> {
    /// The bet's `seqNo`; may be empty.
    pub id: String,
    pub username: String,
    pub round: Option<String>,
    /// The number's own text.
    pub money: &'a str,
    /// What the bet is made of, as it was sent.
    pub detail: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ItemMembers<'a> {
    #[serde(borrow)]
    refund_seq_no: Option<&'a RawValue>,
    #[serde(borrow)]
    seq_no: Option<&'a RawValue>,
    #[serde(borrow)]
    username: Option<&'a RawValue>,
    #[serde(borrow)]
    round_code: Option<&'a RawValue>,
    #[serde(borrow)]
    refund_money: Option<&'a RawValue>,
    #[serde(borrow)]
    detail: Option<&'a RawValue>,
}

/// Reads the items of a request; its top level may name the user and the round of those that don't.
///
/// # Errors
/// [`Code::WrongType`] if the list or a member has another type; [`Code::BadParameters`] if the list is
/// missing, empty or too long, a text is over-long, or an item lacks its id, its amount or a user. Then
/// nothing of the request is done.
pub fn read_items<'a>(members: &Members<'a>, list: List) -> Result<Vec<Item<'a>>, Code> {
    let top_level = |member| Ok::<_, Code>(optional_text(member)?.filter(|text| !text.is_empty()));
    let (username, round) = (top_level(members.username)?, top_level(members.round_code)?);
    let value = match list {
        List::Refund => members.refund_list,
        List::BatchRefund => members.batch_refund_list,
    };
    let items = array(value.ok_or(Code::BadParameters)?)?;
    if items.is_empty() || items.len() > limits::ITEMS_PER_REQUEST_MAX {
        return Err(Code::BadParameters);
    }
    let read = |item: &'a RawValue| {
        let members: ItemMembers<'a> = object(item)?;
        let own = |member: Option<&RawValue>, fallback: &Option<String>| {
            let own = optional_text(member)?.filter(|text| !text.is_empty());
            Ok::<_, Code>(own.or_else(|| fallback.clone()))
        };
        let id = match list {
            List::Refund => members.refund_seq_no,
            List::BatchRefund => members.seq_no,
        };
        Ok(Item {
            id: optional_text(id)?.ok_or(Code::BadParameters)?,
            username: own(members.username, &username)?.ok_or(Code::BadParameters)?,
            round: own(members.round_code, &round)?,
            money: number(members.refund_money.ok_or(Code::BadParameters)?)?,
            detail: members.detail,
        })
    };
    items.into_iter().map(read).collect()
}

/// What a request's items are judged by, beside the ledger.
#[derive(Debug)]
pub struct ItemRules<'a> {
    pub channel: &'a Channel,
    pub list: List,
    /// The request's own currency, where it names one.
    pub currency: Option<&'a str>,
    /// The request's own limit of an item, where it has one.
    pub threshold: Option<Decimal>,
}

/// What the ledger is asked for `items`, each refused already where it breaks a rule.
pub fn asked(items: &[Item<'_>], rules: &ItemRules<'_>) -> Vec<AskedItem> {
    let wrong_currency = rules.currency.is_some_and(|currency| currency != rules.channel.currency.as_str());
    let bet = |item: &Item<'_>| (item.username.to_ascii_lowercase(), item.id.clone());
    let bets: Vec<(String, String)> = items.iter().map(bet).collect();
    let mut amounts: HashMap<_, Option<Decimal>> = HashMap::new();
    let mut contradicting = HashSet::new();
    for (item, bet) in items.iter().zip(&bets) {
        let money = exact_decimal(item.money).ok();
        if *amounts.entry(bet).or_insert(money) != money {
            contradicting.insert(bet);
        }
    }
    let limit = rules.channel.refund_limit.map(|limit| limit.value());
    let limit = [limit, rules.threshold].into_iter().flatten().min();
    let read = |(item, bet): (&Item<'_>, &(String, String))| {
        let asked = match asked_refund(item, rules) {
            Err(Refusal::NoDebitId) => return AskedItem::Refused(Refusal::NoDebitId),
            _ if contradicting.contains(bet) => return AskedItem::Refused(Refusal::Contradiction),
            Err(refusal) => return AskedItem::Refused(refusal),
            Ok(asked) => asked,
        };
        if wrong_currency {
            AskedItem::Barred(asked, Refusal::WrongCurrency)
        } else if limit.is_some_and(|limit| asked.amount.value() > limit) {
            AskedItem::Barred(asked, Refusal::AboveLimit)
        } else {
            AskedItem::Asked(asked)
        }
    };
    items.iter().zip(&bets).map(read).collect()
}

fn asked_refund(item: &Item<'_>, rules: &ItemRules<'_>) -> Result<AskedRefund, Refusal> {
    if item.id.is_empty() {
        return Err(Refusal::NoDebitId);
    }
    let id: DebitId = item.id.parse().map_err(|_| Refusal::BadItem)?;
    let user: Username = item.username.parse().map_err(|_| Refusal::BadItem)?;
    let round: Option<RoundCode> =
        item.round.as_ref().map(|round| round.parse()).transpose().map_err(|_| Refusal::BadItem)?;
    let money = exact_decimal(item.money).map_err(|_| Refusal::BadItem)?;
    let amount = match rules.list {
        List::Refund => Amount::new(-money),
        List::BatchRefund => Amount::new(money),
    };
    let amount = amount.map_err(|_| Refusal::BadItem)?;
    Ok(AskedRefund { debit: DebitKey { account: rules.channel.id.wallet(&user), id }, round, amount })
}

/// Over all that a request asks for: its call and channel, what else at the top level bears on it (`head`), and
/// its items' users, rounds, bets and amounts; not its timestamp, signature or token. Equal amounts and users
/// are equal however they are written.
pub fn fingerprint(
    layout: &str,
    channel: &Channel,
    head: &[Option<&str>],
    items: &[Item<'_>],
) -> Fingerprint {
    let mut builder = FingerprintBuilder::new(layout);
    builder.field(Some(&channel.id.to_string()));
    for field in head {
        builder.field(*field);
    }
    for item in items {
        let money =
            exact_decimal(item.money).map_or_else(|_| item.money.to_owned(), |money| money.to_string());
        builder
            .field(Some(&item.username.to_ascii_lowercase()))
            .field(item.round.as_deref())
            .field(Some(&item.id))
            .field(Some(&money));
    }
    builder.finish()
}
