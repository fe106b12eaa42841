//! eBET: what `refundSingleWallet` and `autoBatchRefund` share. A game provider asks a channel (an
//! operator) to give back bets that failed.

mod authenticate;
mod call;
mod channel;
mod code;
mod items;
mod members;
mod signature;

pub use authenticate::{Channels, Fault};
pub use call::{Call, Endpoint, Report};
pub use channel::{BatchSignature, Channel, ChannelId, ChannelSettings, InvalidSettings, Username};
pub use code::Code;
pub use items::{Item, ItemRules, List, asked, fingerprint, read_items};
pub use members::{
    Head, JsonMoney, Members, Numbered, array, number, object, optional_text, read_members, text,
};
pub use signature::{InvalidKey, PublicKey};

/// The prefix of all keys of this provider.
pub const PROVIDER: &str = "ebet";
