//! The answer: for each player and round, what was refunded.

use std::collections::{HashMap, HashSet};

use rust_decimal::Decimal;
use serde::Serialize;
use shared::ebet::{Code, Item, JsonMoney, Numbered};
use shared::ledger::Verdict;

/// What only a request that reached the ledger is told.
#[derive(Debug)]
pub struct Told {
    groups: Vec<Group>,
}

/// The items of one player and round.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Group {
    username: String,
    /// Empty where the items name none.
    round_code: String,
    refund_total_money: JsonMoney,
    suc_refund_seq_no_list: Vec<Refunded>,
}

/// A refunded item. The document calls its bet `refundSeqNo` in the table and `seqNo` in the example; senders
/// read either.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Refunded {
    seq_no: String,
    refund_seq_no: String,
    status: u16,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Wire<'a> {
    seq_no: &'a str,
    event: &'a str,
    timestamp: u64,
    status: u16,
    refund_result_list: &'a [Group],
}

/// Numbers each item's group, in the order of their first items.
fn group_numbers(items: &[Item<'_>]) -> (Vec<usize>, usize) {
    let mut groups = HashMap::new();
    let number = |item: &Item<'_>| {
        let next = groups.len();
        *groups.entry((item.username.to_ascii_lowercase(), item.round.clone())).or_insert(next)
    };
    (items.iter().map(number).collect(), groups.len())
}

impl Told {
    /// Of `items` and what became of them.
    pub fn of(items: &[Item<'_>], verdicts: &[&Verdict]) -> Self {
        let (numbers, _) = group_numbers(items);
        let mut groups: Vec<Group> = Vec::new();
        // A bet that is asked for twice is answered twice, but its money counts once.
        let mut counted = HashSet::new();
        for ((item, verdict), number) in items.iter().zip(verdicts).zip(numbers) {
            if number == groups.len() {
                groups.push(Group {
                    username: item.username.clone(),
                    round_code: item.round.clone().unwrap_or_default(),
                    refund_total_money: JsonMoney(Decimal::ZERO),
                    suc_refund_seq_no_list: Vec::new(),
                });
            }
            let (Some(group), Verdict::Refunded(refund)) = (groups.get_mut(number), verdict) else {
                continue;
            };
            if counted.insert((item.username.to_ascii_lowercase(), &item.id)) {
                group.refund_total_money.0 += refund.amount.value();
            }
            group.suc_refund_seq_no_list.push(Refunded {
                seq_no: item.id.clone(),
                refund_seq_no: item.id.clone(),
                status: Code::from(*verdict).number(),
            });
        }
        Self { groups }
    }
}

pub fn to_json(status: Code, numbered: &Numbered, told: Option<&Told>) -> String {
    let wire = Wire {
        seq_no: &numbered.seq_no,
        event: &numbered.event,
        timestamp: numbered.timestamp,
        status: status.number(),
        refund_result_list: told.map(|told| told.groups.as_slice()).unwrap_or_default(),
    };
    serde_json::to_string(&wire).unwrap_or_default()
}

/// An answer's members and marks, escaped: for a request, a group and a refunded item, beside their texts.
const REQUEST_BYTES: usize = 2_000;
const GROUP_BYTES: usize = 128;
const REFUNDED_BYTES: usize = 64;

/// At least the bytes of the answer to `items`, however many of them are refunded, as Lambda passes it on:
/// JSON in a string of JSON.
pub fn bytes_max(items: &[Item<'_>]) -> usize {
    let (numbers, groups) = group_numbers(items);
    let mut is_named = vec![false; groups];
    let named = |(item, number): (&Item<'_>, usize)| {
        let was_named = is_named.get_mut(number).is_none_or(|is_named| std::mem::replace(is_named, true));
        let name = if was_named { 0 } else { escaped_twice(&item.username) };
        let round = item.round.as_deref().filter(|_| !was_named).map_or(0, escaped_twice);
        name + round + 2 * escaped_twice(&item.id)
    };
    let texts: usize = items.iter().zip(numbers).map(named).sum();
    REQUEST_BYTES + groups * GROUP_BYTES + items.len() * REFUNDED_BYTES + texts
}

fn escaped_twice(text: &str) -> usize {
    let bytes = |character: char| match character {
        '"' | '\\' => 4,
        control if control < ' ' => 7,
        other => other.len_utf8(),
    };
    text.chars().map(bytes).sum()
}

#[cfg(test)]
mod tests {
    use shared::ledger::{Balance, Hash, Posting, Refund, RefundedBy, TenantKey};

    use super::*;

    fn refunded(amount: &str) -> Verdict {
        let balance = |text: &str| text.parse::<Balance>().unwrap();
        let hash = Hash::recorded(&[0; 32]).unwrap();
        Verdict::Refunded(Refund {
            amount: amount.parse().unwrap(),
            by: RefundedBy::Provider,
            request: TenantKey::new("ebet", "1").request("autoBatchRefund", "r"),
            at: 0,
            posting: Posting {
                sequence: 1,
                before: balance("0"),
                after: balance(amount),
                previous: hash,
                hash,
            },
        })
    }

    #[test]
    fn an_answer_is_never_longer_than_was_foreseen() {
        let longest = 128;
        for text in ["x", "\\", "\"", "\u{1}", "\n", "\u{7f}", "\u{2028}", "牌", "🀄"] {
            for count in [1, 2, 100] {
                let round = |number: usize| text.repeat(longest).replacen(text, &number.to_string(), 1);
                let items: Vec<Item<'_>> = (0..count)
                    .map(|number| Item {
                        id: text.repeat(longest),
                        username: text.repeat(longest),
                        round: Some(round(number)),
                        money: "1",
                        detail: None,
                    })
                    .collect();
                let verdict = refunded("999999999999999.99");
                let told = Told::of(&items, &vec![&verdict; count]);
                let numbered = Numbered {
                    seq_no: text.repeat(longest),
                    event: text.repeat(longest),
                    timestamp: u64::MAX,
                };
                let body = to_json(Code::Ok, &numbered, Some(&told));
                let bytes = serde_json::to_string(&shared::edge::Response::json(body)).unwrap().len();
                let foreseen = bytes_max(&items);
                assert!(bytes <= foreseen, "{text:?} × {count}: {bytes} > {foreseen}");
                let is_ordinary = count == 100 && text >= " ";
                assert!(!is_ordinary || foreseen < bytes + bytes / 4, "{text:?}: {foreseen} for {bytes}");
            }
        }
    }
}
