//! The domain crate: one ledger in DynamoDB makes every refund happen exactly once and be provable
//! afterwards; what each provider's functions share stands beside it.
//!
//! Arrows point one way: functions → provider ([`ebet`], [`epay`], [`pingpp`], and the operator's own [`entries`]) →
//! [`ledger`] ← [`store`]. The ledger knows
//! neither HTTP nor DynamoDB; [`edge`] knows Lambda and HTTP, and nothing of refunds.

pub mod aws;
pub mod clock;
pub mod ebet;
pub mod edge;
pub mod entries;
pub mod epay;
pub mod ledger;
pub mod limits;
pub mod mutants;
pub mod pingpp;
pub mod store;
