//! Ping++: what the batch refund endpoints share. A merchant refunds up to 100 charges in one call, and then follows
//! the batch.

mod advance;
mod app;
mod authenticate;
mod channel;
mod error;
mod object;
mod request;

pub use advance::{advance, decide};
pub use app::{App, AppId, AppSettings, InvalidApp, Mode, SecretKey};
pub use authenticate::{Caller, Keys, authenticate};
pub use channel::{ChannelAnswer, ChannelRefund, LedgerChannel, PaymentChannel};
pub use error::ApiError;
pub use object::{BatchObject, RefundObject};
pub use request::CreateRequest;

/// The prefix of all keys of this provider.
pub const PROVIDER: &str = "pingpp";
