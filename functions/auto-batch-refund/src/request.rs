//! A request: its own members, and what the ledger is asked for each of its players.

use std::collections::HashMap;

use shared::ebet::{
    BatchSignature, Call, Channel, Code, Head, Item, ItemRules, List, Members, asked, fingerprint, number,
    optional_text, read_items,
};
use shared::ledger::{AccountKey, RefundRequest, RefundedBy, Verdict, exact_decimal};
use shared::limits;
use shared::store::Refunds;

use crate::{Batch, answer};

pub struct BatchRefund<'a> {
    pub items: Vec<Item<'a>>,
    /// A part for each player. The first one leads, and has all items that can't be asked for at all.
    pub parts: Vec<RefundRequest>,
    /// For each part, where its items stand in `items`.
    positions: Vec<Vec<usize>>,
    /// The caller's session token, hashed.
    pub session: Option<String>,
    pub last_start_process_time: Option<i64>,
}

/// What the signature may be over. The document says username + timestamp, but has no username at the top
/// level, and a missing one is left out; operators are known to verify channelId + timestamp. The channel's
/// settings say which of these it accepts.
pub fn signed_texts(
    members: &Members<'_>,
    channel: &Channel,
    timestamp: &str,
) -> impl Iterator<Item = String> {
    channel.batch_signature.iter().filter_map(move |form| {
        let signer = match form {
            BatchSignature::ChannelIdTimestamp => members.channel_id?.get().to_owned(),
            BatchSignature::UsernameTimestamp => only_username(members)?,
            BatchSignature::Timestamp => String::new(),
        };
        Some(format!("{signer}{timestamp}"))
    })
}

/// The user that all items are of: a signature over one user's name must not move another's money.
fn only_username(members: &Members<'_>) -> Option<String> {
    let items = read_items(members, List::BatchRefund).ok()?;
    let top_level = optional_text(members.username).ok()?.filter(|name| !name.is_empty());
    let username = top_level.or_else(|| items.first().map(|item| item.username.clone()))?;
    items.iter().any(|item| item.username.eq_ignore_ascii_case(&username)).then_some(username)
}

impl<'a> BatchRefund<'a> {
    /// Reads an authenticated request of `channel`.
    ///
    /// # Errors
    /// 4025 for what is missing, empty or too long; 4030 for what has another type; 206 for an empty
    /// `seqNo`.
    pub fn read(members: &Members<'a>, channel: &Channel) -> Result<Self, Code> {
        let Head { seq_no, currency, session } = Head::read(members, Batch::EVENT)?;
        let currency = currency.as_deref();
        let last_start_process_time = members.last_start_process_time.map(number).transpose()?;
        let threshold = members.refund_threshold.map(number).transpose()?;
        let threshold = threshold.map(exact_decimal).transpose().map_err(|_| Code::BadParameters)?;
        let items = read_items(members, List::BatchRefund)?;
        if answer::bytes_max(&items) > limits::ANSWER_BYTES_MAX {
            return Err(Code::BadParameters);
        }

        let threshold_text = threshold.map(|threshold| threshold.to_string());
        let head = [threshold_text.as_deref(), currency];
        let fingerprint = fingerprint("autoBatchRefund/1", channel, &head, &items);
        let part = |account: Option<&AccountKey>| RefundRequest {
            key: channel.id.tenant().request(Batch::EVENT, &seq_no),
            part: account.cloned(),
            fingerprint,
            by: RefundedBy::Provider,
            partial_refunds: channel.partial_refunds,
            currency: channel.currency.clone(),
            items: Vec::new(),
            balance_of: None,
        };
        let mut parts = vec![(part(None), Vec::new())];
        let mut numbers: HashMap<AccountKey, usize> = HashMap::new();
        let rules = ItemRules { channel, list: List::BatchRefund, currency, threshold };
        for (position, item) in asked(&items, &rules).into_iter().enumerate() {
            let account = item.asked().map(|asked| &asked.debit.account);
            let number = account.map_or(0, |account| {
                let next = numbers.len();
                *numbers.entry(account.clone()).or_insert(next)
            });
            if number == parts.len() {
                parts.push((part(account), Vec::new()));
            }
            if let Some((part, positions)) = parts.get_mut(number) {
                part.items.push(item);
                positions.push(position);
            }
        }
        let (parts, positions) = parts.into_iter().unzip();
        let last_start_process_time = last_start_process_time.and_then(|time| time.parse().ok());
        Ok(Self { items, parts, positions, session, last_start_process_time })
    }

    /// One verdict for each item, in the request's order, of what became of each player's part.
    pub fn verdicts<'r>(&self, players: &'r [Refunds]) -> Vec<&'r Verdict> {
        let mut verdicts = vec![&Verdict::Due; self.items.len()];
        for (positions, refunds) in self.positions.iter().zip(players) {
            for (position, verdict) in positions.iter().zip(&refunds.verdicts) {
                verdicts.get_mut(*position).into_iter().for_each(|slot| *slot = verdict);
            }
        }
        verdicts
    }
}
