//! A request: its own members, and what the ledger is asked for it.

use shared::ebet::{
    Channel, Code, Item, ItemRules, Members, Sign, Username, asked, fingerprint, optional_text, read_items,
};
use shared::edge::hashed;
use shared::ledger::{RefundRequest, RefundedBy};

use crate::EVENT;

pub struct SingleRefund {
    pub items: Vec<Item>,
    pub asked: RefundRequest,
    /// The caller's session token, hashed.
    pub session: Option<String>,
}

/// What the signature is over: username + timestamp, of which a missing one is left out.
pub fn signed_text(members: &Members<'_>, timestamp: &str) -> Result<String, Code> {
    Ok(format!("{}{timestamp}", optional_text(members.username)?.unwrap_or_default()))
}

impl SingleRefund {
    /// Reads an authenticated request of `channel`.
    ///
    /// # Errors
    /// 4025 for what is missing, empty or too long; 4030 for what has another type; 206 for an empty
    /// `seqNo`.
    pub fn read(members: &Members<'_>, channel: &Channel) -> Result<Self, Code> {
        let seq_no = optional_text(members.seq_no)?.ok_or(Code::BadParameters)?;
        if seq_no.is_empty() {
            return Err(Code::NoSeqNo);
        }
        if optional_text(members.event)?.is_some_and(|event| event != EVENT) {
            return Err(Code::BadParameters);
        }
        let currency = optional_text(members.currency)?;
        let username = optional_text(members.username)?.filter(|name| !name.is_empty());
        let round = optional_text(members.round_code)?.filter(|round| !round.is_empty());
        let session = optional_text(members.session_token)?.map(|token| hashed(&token));
        let list = members.refund_list.ok_or(Code::BadParameters)?;
        let items = read_items(list, username.as_deref(), round.as_deref())?;

        // Balances are those of the top level's user; without one, of the first item's.
        let player: Option<Username> = match &username {
            Some(name) => Some(name.parse().map_err(|_| Code::BadParameters)?),
            None => items.first().and_then(|item| item.username.parse().ok()),
        };
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
            currency: channel.currency.clone(),
            items: asked(&items, &rules),
            balance_of: player.map(|player| channel.id.wallet(&player)),
        };
        Ok(Self { items, asked, session })
    }
}
