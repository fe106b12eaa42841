//! The items of a request: from their members to what the ledger is asked.

use std::collections::{HashMap, HashSet};

use rust_decimal::Decimal;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::members::{array, object};
use super::{Channel, Code, Username, number, optional_text};
use crate::ledger::{
    Amount, AskedItem, AskedRefund, DebitId, DebitKey, Fingerprint, FingerprintBuilder, Refusal, RoundCode,
    exact_decimal,
};
use crate::limits;

/// One item as it was sent, with the top level's user and round where it has none of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// The bet's `seqNo`; may be empty.
    pub id: String,
    pub username: String,
    pub round: Option<String>,
    /// The number's own text.
    pub money: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ItemMembers<'a> {
    #[serde(borrow)]
    refund_seq_no: Option<&'a RawValue>,
    #[serde(borrow)]
    username: Option<&'a RawValue>,
    #[serde(borrow)]
    round_code: Option<&'a RawValue>,
    #[serde(borrow)]
    refund_money: Option<&'a RawValue>,
}

/// Reads the list of items; `username` and `round` are the top level's.
///
/// # Errors
/// [`Code::WrongType`] if the list or a member has another type; [`Code::BadParameters`] if the list is
/// empty or too long, a text is over-long, or an item lacks its id, its amount or a user. Then nothing of
/// the request is done.
pub fn read_items(list: &RawValue, username: Option<&str>, round: Option<&str>) -> Result<Vec<Item>, Code> {
    let items = array(list)?;
    if items.is_empty() || items.len() > limits::ITEMS_PER_REQUEST_MAX {
        return Err(Code::BadParameters);
    }
    let read = |item: &RawValue| {
        let members: ItemMembers<'_> = object(item)?;
        let own = |member: Option<&RawValue>, fallback: Option<&str>| {
            let own = optional_text(member)?.filter(|text| !text.is_empty());
            Ok::<_, Code>(own.or_else(|| fallback.map(str::to_owned)))
        };
        Ok(Item {
            id: optional_text(members.refund_seq_no)?.ok_or(Code::BadParameters)?,
            username: own(members.username, username)?.ok_or(Code::BadParameters)?,
            round: own(members.round_code, round)?,
            money: number(members.refund_money.ok_or(Code::BadParameters)?)?.to_owned(),
        })
    };
    items.into_iter().map(read).collect()
}

/// Which sign a call's amounts have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sign {
    /// `refundSingleWallet`
    Negative,
    /// `autoBatchRefund`
    Positive,
}

/// What a request's items are judged by, beside the ledger.
#[derive(Debug)]
pub struct ItemRules<'a> {
    pub channel: &'a Channel,
    pub sign: Sign,
    /// The request's own currency, where it names one.
    pub currency: Option<&'a str>,
}

/// What the ledger is asked for `items`, each refused already where it breaks a rule.
pub fn asked(items: &[Item], rules: &ItemRules<'_>) -> Vec<AskedItem> {
    let wrong_currency = rules.currency.is_some_and(|currency| currency != rules.channel.currency.as_str());
    let bet = |item: &Item| (item.username.to_ascii_lowercase(), item.id.clone());
    let bets: Vec<(String, String)> = items.iter().map(bet).collect();
    let mut amounts: HashMap<_, Option<Decimal>> = HashMap::new();
    let mut contradicting = HashSet::new();
    for (item, bet) in items.iter().zip(&bets) {
        let money = exact_decimal(&item.money).ok();
        if *amounts.entry(bet).or_insert(money) != money {
            contradicting.insert(bet);
        }
    }
    let read = |(item, bet): (&Item, &(String, String))| {
        let asked = match asked_refund(item, rules) {
            Err(Refusal::NoDebitId) => return AskedItem::Refused(Refusal::NoDebitId),
            _ if contradicting.contains(bet) => return AskedItem::Refused(Refusal::Contradiction),
            Err(refusal) => return AskedItem::Refused(refusal),
            Ok(asked) => asked,
        };
        if wrong_currency {
            AskedItem::Barred(asked, Refusal::WrongCurrency)
        } else if rules.channel.refund_limit.is_some_and(|limit| asked.amount > limit) {
            AskedItem::Barred(asked, Refusal::AboveLimit)
        } else {
            AskedItem::Asked(asked)
        }
    };
    items.iter().zip(&bets).map(read).collect()
}

fn asked_refund(item: &Item, rules: &ItemRules<'_>) -> Result<AskedRefund, Refusal> {
    if item.id.is_empty() {
        return Err(Refusal::NoDebitId);
    }
    let id: DebitId = item.id.parse().map_err(|_| Refusal::BadItem)?;
    let user: Username = item.username.parse().map_err(|_| Refusal::BadItem)?;
    let round: Option<RoundCode> =
        item.round.as_ref().map(|round| round.parse()).transpose().map_err(|_| Refusal::BadItem)?;
    let money = exact_decimal(&item.money).map_err(|_| Refusal::BadItem)?;
    let amount = match rules.sign {
        Sign::Negative => Amount::new(-money),
        Sign::Positive => Amount::new(money),
    };
    let amount = amount.map_err(|_| Refusal::BadItem)?;
    Ok(AskedRefund { debit: DebitKey { account: rules.channel.id.wallet(&user), id }, round, amount })
}

/// Over all that a request asks for: its call, channel, users, rounds, bets, amounts and currency; not its
/// timestamp, signature or token. Equal amounts and users are equal however they are written.
pub fn fingerprint(
    layout: &str,
    channel: &Channel,
    username: Option<&str>,
    currency: Option<&str>,
    items: &[Item],
) -> Fingerprint {
    let mut builder = FingerprintBuilder::new(layout);
    builder.field(Some(&channel.id.to_string()));
    builder.field(username.map(str::to_ascii_lowercase).as_deref()).field(currency);
    for item in items {
        let money = exact_decimal(&item.money).map_or_else(|_| item.money.clone(), |money| money.to_string());
        builder
            .field(Some(&item.username.to_ascii_lowercase()))
            .field(item.round.as_deref())
            .field(Some(&item.id))
            .field(Some(&money));
    }
    builder.finish()
}
