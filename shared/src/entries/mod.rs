//! Entries: what the operator's own systems say of payments and balances, as JSON objects. A refund is only as right as
//! the payment and the balance it is made against.

mod entry;
mod record;
mod tenant;

pub use entry::{Entry, InvalidEntry};
pub use record::{Outcome, Recorder, Refusal};
pub use tenant::{currency_of, tenant_name};
