//! A request: its own members, and what the ledger is asked for it.

use shared::ebet::{
    Channel, Code, Item, ItemRules, Members, Sign, Username, asked, fingerprint, read_items, text,
};
use shared::edge::hashed;
use shared::ledger::{RefundRequest, RefundedBy};
use shared::limits::TEXT_CHARS_MAX;

use crate::EVENT;

pub struct SingleRefund {
    pub items: Vec<Item>,
    pub asked: RefundRequest,
    /// The caller's session token, hashed.
    pub session: Option<String>,
}

/// What the signature is over: username + timestamp, of which a missing one is left out.
pub fn signed_text(members: &Members<'_>, timestamp: &str) -> Result<String, Code> {
    Ok(format!("{}{timestamp}", optional(members.username)?.unwrap_or_default()))
}

impl SingleRefund {
    /// Reads an authenticated request of `channel`.
    ///
    /// # Errors
    /// 4025 for what is missing, empty or too long; 4030 for what has another type; 206 for an empty
    /// `seqNo`.
    pub fn read(members: &Members<'_>, channel: &Channel) -> Result<Self, Code> {
        let seq_no = optional(members.seq_no)?.ok_or(Code::BadParameters)?;
        if seq_no.is_empty() {
            return Err(Code::NoSeqNo);
        }
        if optional(members.event)?.is_some_and(|event| event != EVENT) {
            return Err(Code::BadParameters);
        }
        let currency = optional(members.currency)?;
        let username = optional(members.username)?.filter(|name| !name.is_empty());
        let round = optional(members.round_code)?.filter(|round| !round.is_empty());
        let session = optional(members.session_token)?.map(|token| hashed(&token));
        let list = members.refund_list.ok_or(Code::BadParameters)?;
        let items = read_items(list, username.as_deref(), round.as_deref())?;

        // Balances are those of the top level's user; without one, of the first item's.
        let player = username.as_deref().or(items.first().map(|item| item.username.as_str()));
        let player = player.and_then(|name| name.parse::<Username>().ok());
        let rules = ItemRules { channel, sign: Sign::Negative, currency: currency.as_deref() };
        let asked = RefundRequest {
            key: channel.id.tenant().request(EVENT, &seq_no),
            fingerprint: fingerprint(
                "refundSingleWallet/1",
                channel,
                username.as_deref(),
                currency.as_deref(),
                &items,
            ),
            by: RefundedBy::Provider,
            partial_refunds: channel.partial_refunds,
            items: asked(&items, &rules),
            balance_of: player.map(|player| channel.id.wallet(&player)),
        };
        Ok(Self { items, asked, session })
    }
}

fn optional(member: Option<&serde_json::value::RawValue>) -> Result<Option<String>, Code> {
    member.map(|value| text(value, TEXT_CHARS_MAX)).transpose()
}
