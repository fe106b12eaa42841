//! An intervention: what an operator does to the ledger outside the callers' calls, with who and why.

use super::TenantKey;

/// One intervention. It is on record before anything is changed, so that nothing is changed without it; what it came
/// to is put on record afterwards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Intervention {
    pub tenant: TenantKey,
    /// What it is about, within the tenant: `refund re_…`, `debit apitest01 bet-1`; empty for the tenant itself.
    pub subject: String,
    /// What was to be done, in words.
    pub action: String,
    /// Who did it.
    pub by: String,
    pub reason: String,
    /// Unix milliseconds.
    pub at: u64,
    /// Tells it from others at the same moment.
    pub id: String,
    /// What it came to. None where that was not put on record: then the subject tells.
    pub outcome: Option<String>,
}
