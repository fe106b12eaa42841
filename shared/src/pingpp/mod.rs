//! Ping++: what the batch refund endpoints share. A merchant refunds up to 100 charges in one call, and then follows
//! the batch.

mod advance;
mod app;
mod authenticate;
mod call;
mod channel;
mod error;
mod event;
mod id;
mod object;
mod request;

pub use advance::{
    Decided, OPERATORS_CLOCK_OFF, TAKEN_FOR, advance, advance_by_hand, advance_new, decide, decide_refund,
};
pub use app::{App, AppId, AppSettings, InvalidApp, Mode, SecretKey, tenant_of};
pub use authenticate::{Caller, Checked, Keys, authenticate};
pub use call::{Call, Endpoint, Report, object, shown, told_refunds};
pub use channel::{ChannelAnswer, ChannelRefund, LedgerChannel, PaymentChannel, payment_channel};
pub use error::{ApiError, ErrorKind, INSUFFICIENT_FUNDS};
pub use event::{Event, EventBus, LogBus, NoEvent, batch_succeeded, refund_succeeded};
pub use id::{batches_made, new_batch};
pub use object::{BatchObject, RefundObject};
pub use request::CreateRequest;

/// The prefix of all keys of this provider.
pub const PROVIDER: &str = crate::ledger::CHARGES_PREFIX;
