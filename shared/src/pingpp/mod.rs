//! Ping++: what the batch refund endpoints share. A merchant refunds up to 100 charges in one call, and then follows
//! the batch.

mod advance;
mod channel;

pub use advance::{advance, decide};
pub use channel::{ChannelAnswer, ChannelRefund, LedgerChannel, PaymentChannel};

/// The prefix of all keys of this provider.
pub const PROVIDER: &str = "pingpp";
