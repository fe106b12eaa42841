//! The ledger: accounts, debits, applications, refunds and postings, and the decisions about them. Everything here is
//! a value or a pure function; the [`store`](crate::store) carries decisions out.

mod account;
mod application;
mod chain;
mod charge;
mod debit;
mod entry;
mod intervention;
mod money;
mod movement;
mod names;
mod posting;
mod refund;
mod refund_batch;
mod seal;

pub use account::Account;
pub use application::{
    Application, ApplicationRefund, ApplicationState, BatchGuard, BeginRefusal, Completion, Confirmation,
    FailedRefund, Mismatch, Obstacle, RefundId, Standing, Withdrawal, completing, judge_begin,
    judge_completion, judge_confirmation,
};
pub use chain::{Chain, ChainBreach, Posted, check_chain, check_funds};
pub use charge::{CHARGES_PREFIX, Charge, FundingSource, Hold, MinorUnits};
pub use debit::{Debit, DebitDifference, DebitState, Refund, RefundedBy, Taking};
pub use entry::{
    AccountEntry, Conflict, DebitNow, DebitWas, EntryOutcome, EntryRefusal, OnRecord, Recording,
    decide_entries, rests_on_the_balance,
};
pub use intervention::Intervention;
pub use money::{Amount, Balance, Currency, InvalidMoney, exact_decimal};
pub use movement::{Direction, Movement, MovementKey};
pub(crate) use names::unescaped;
pub use names::{
    AccountKey, ApplicationKey, BatchKey, BatchNo, ChannelName, ChargeId, ChargeKey, CredentialKey, DebitId,
    DebitKey, InvalidBatchId, InvalidText, MerchantBatchNo, MovementId, OrderNo, Reason, RefundAccount,
    RefundBatchId, RefundBatchKey, RequestKey, RoundCode, TenantKey, TradeNo, TransactionNo,
};
pub(crate) use posting::FieldDigest;
pub use posting::{Cause, Hash, Posting, PostingFacts, opening_head};
pub use refund::{
    AskedItem, AskedRefund, Fingerprint, FingerprintBuilder, KeyReused, Progress, RefundRequest, Refusal,
    RequestRecord, Snapshot, Transaction, Verdict, decide, is_behind, is_conclusive, is_fresh_tombstone,
    plan, tombstones_due,
};
pub use refund_batch::{
    AskedCharge, BatchEnd, BatchItem, BatchRefusal, BatchRequest, BatchSnapshot, BatchState, ChargeProblem,
    Created, Creating, DescriptionLimit, FundsPosting, ItemRefund, ItemState, Plan, RefundBatch,
    decide_batch,
};
