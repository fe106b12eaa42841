//! A request: its own members, and what the ledger is asked for it.

use shared::ebet::{
    Call, Channel, Code, Head, Item, ItemRules, List, Members, Username, asked, fingerprint, optional_text,
    read_items,
};
use shared::ledger::{RefundRequest, RefundedBy};

use crate::Single;

pub struct SingleRefund<'a> {
    pub items: Vec<Item<'a>>,
    pub asked: RefundRequest,
    /// The caller's session token, hashed.
    pub session: Option<String>,
}

/// What the signature is over: username + timestamp, of which a missing one is left out.
pub fn signed_text(members: &Members<'_>, timestamp: &str) -> Result<String, Code> {
    Ok(format!("{}{timestamp}", optional_text(members.username)?.unwrap_or_default()))
}

impl<'a> SingleRefund<'a> {
    /// Reads an authenticated request of `channel`.
    ///
    /// # Errors
    /// 4025 for what is missing, empty or too long; 4030 for what has another type; 206 for an empty
    /// `seqNo`.
    pub fn read(members: &Members<'a>, channel: &Channel) -> Result<Self, Code> {
        let Head { seq_no, currency, session } = Head::read(members, Single::EVENT)?;
        let username = optional_text(members.username)?.filter(|name| !name.is_empty());
        let items = read_items(members, List::Refund)?;

        // Balances are those of the top level's user; without one, of the first item's.
        let player: Option<Username> = match &username {
            Some(name) => Some(name.parse().map_err(|_| Code::BadParameters)?),
            None => items.first().and_then(|item| item.username.parse().ok()),
        };
        let currency = currency.as_deref();
        let rules = ItemRules { channel, list: List::Refund, currency, threshold: None };
        let player_name = username.as_deref().map(str::to_ascii_lowercase);
        let head = [player_name.as_deref(), currency];
        let asked = RefundRequest {
            key: channel.id.tenant().request(Single::EVENT, &seq_no),
            part: None,
            fingerprint: fingerprint("refundSingleWallet/1", channel, &head, &items),
            by: RefundedBy::Provider,
            partial_refunds: channel.partial_refunds,
            currency: channel.currency.clone(),
            items: asked(&items, &rules),
            balance_of: player.map(|player| channel.id.wallet(&player)),
        };
        Ok(Self { items, asked, session })
    }
}
