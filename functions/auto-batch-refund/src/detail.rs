//! What a bet says it is made of. Some senders are careless with them, so what disagrees is noted
//! for operators and refuses nothing: what a bet took is known from its debit.

use rust_decimal::Decimal;
use serde::Deserialize;
use serde_json::value::RawValue;
use shared::ebet::{Code, Item, array, number, object, optional_text};
use shared::ledger::exact_decimal;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct EntryMembers<'a> {
    #[serde(borrow)]
    bet_id: Option<&'a RawValue>,
    #[serde(borrow)]
    bet_type: Option<&'a RawValue>,
    #[serde(borrow)]
    money: Option<&'a RawValue>,
}

/// How many items' details disagree with their items, and how the first one does; nothing if all agree.
pub fn disagreements(items: &[Item<'_>]) -> Option<String> {
    let mut found = items.iter().filter_map(|item| Some((item, disagreement(item)?)));
    let (item, how) = found.next()?;
    Some(format!("details that disagree: {}; bet {:?}: {how}", 1 + found.count(), item.id))
}

/// A detail's entries add up to the bet's amount, and are named after the bet and their type.
fn disagreement(item: &Item<'_>) -> Option<&'static str> {
    let Ok(entries) = entries(item.detail?) else { return Some("can't be read") };
    let sum = entries.iter().try_fold(Decimal::ZERO, |sum, (_, money)| sum.checked_add(*money));
    if sum.is_none() || sum != exact_decimal(item.money).ok() {
        return Some("money does not add up to refundMoney");
    }
    let is_named = |name: &Option<(String, &str)>| {
        name.as_ref().is_none_or(|(id, kind)| {
            id.strip_prefix(&item.id).and_then(|rest| rest.strip_prefix('-')) == Some(*kind)
        })
    };
    if entries.iter().all(|(name, _)| is_named(name)) { None } else { Some("betId is not seqNo-betType") }
}

/// Of each entry its betId and betType, where it has them, and its money.
type Entries<'a> = Vec<(Option<(String, &'a str)>, Decimal)>;

fn entries(detail: &RawValue) -> Result<Entries<'_>, Code> {
    let read = |entry| {
        let members: EntryMembers<'_> = object(entry)?;
        let money = number(members.money.ok_or(Code::BadParameters)?)?;
        let money = exact_decimal(money).map_err(|_| Code::BadParameters)?;
        let kind = members.bet_type.map(number).transpose()?;
        Ok((optional_text(members.bet_id)?.zip(kind), money))
    };
    array(detail)?.into_iter().map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_detail_agrees_if_it_adds_up_and_is_named_after_the_bet() {
        for (money, detail, how) in [
            ("20", None, None),
            ("20", Some(r#"[{"betId":"bet-80","betType":80,"money":20}]"#), None),
            ("20.50", Some(r#"[{"betId":"bet-80","betType":80,"money":20},{"money":0.5}]"#), None),
            (
                "20",
                Some(r#"[{"betId":"bet-80","betType":80,"money":1000}]"#),
                Some("money does not add up to refundMoney"),
            ),
            ("20", Some("[]"), Some("money does not add up to refundMoney")),
            (
                "20",
                Some(r#"[{"betId":"bet-81","betType":80,"money":20}]"#),
                Some("betId is not seqNo-betType"),
            ),
            (
                "20",
                Some(r#"[{"betId":"other-80","betType":80,"money":20}]"#),
                Some("betId is not seqNo-betType"),
            ),
            ("20", Some(r#"[{"betId":"bet-80","betType":80}]"#), Some("can't be read")),
            ("20", Some(r#"[{"money":"20"}]"#), Some("can't be read")),
            ("20", Some("[1]"), Some("can't be read")),
            ("20", Some("\"all of it\""), Some("can't be read")),
            ("20", Some(r#"[{"money":1e28},{"money":7e28}]"#), Some("money does not add up to refundMoney")),
        ] {
            let detail = detail.map(|text| RawValue::from_string(text.to_owned()).unwrap());
            let item = Item {
                id: "bet".to_owned(),
                username: "p".to_owned(),
                round: None,
                money,
                detail: detail.as_deref(),
            };
            assert_eq!(disagreement(&item), how, "{detail:?}");
        }
    }
}
