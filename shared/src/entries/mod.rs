//! Entries: what the operator's own systems say of payments and balances, as JSON objects. A refund is only as right as
//! the payment and the balance it is made against.
//!
//! `POST /entries` takes them in any language; a system in Rust can do the same itself, on the table, with this crate.
//! Each entry is recorded once, whatever fails and however often it is said.
//!
//! # Examples
//!
//! Entries as JSON, of any kind and of several tenants, as the route takes them:
//!
//! ```
//! use std::time::Duration;
//!
//! use shared::entries::{Entry, Outcome, Recorder};
//! use shared::store::{self, Deadline, Store};
//!
//! async fn record(lines: &[&str]) -> Result<(), Box<dyn std::error::Error>> {
//!     // Once a process, by the environment's AWS settings.
//!     let store = Store::new(store::client(None).await, "refunds-prod");
//!     let recorder = Recorder::default();
//!
//!     let entries: Vec<Entry> = lines.iter().map(|line| Entry::read(line)).collect::<Result<_, _>>()?;
//!     let session = store.session(Deadline::after(Duration::from_secs(5)));
//!     let (outcomes, _executed) = recorder.record(&session, &entries).await;
//!     for outcome in outcomes {
//!         match outcome {
//!             Outcome::Recorded(on_record) => println!("recorded: {:?}", on_record.posting),
//!             Outcome::Unchanged(_) => println!("was on record before"),
//!             Outcome::Refused(refusal) => println!("refused: {} {refusal}", refusal.code()),
//!             Outcome::Undecided(trouble) => println!("record it again: {trouble}"),
//!         }
//!     }
//!     Ok(())
//! }
//! ```
//!
//! Values instead of JSON: what happens to an account (a player's wallet, an app's funds) is recorded by
//! [`Session::record_entries`](crate::store::Session::record_entries), which has examples of its own. An app's funds move:
//!
//! ```
//! use shared::ledger::{AccountEntry, Direction, FundingSource};
//! use shared::pingpp::{AppId, Mode};
//! use shared::store::{Recorded, Session};
//!
//! async fn charge_settled(session: &Session) -> Result<Recorded, Box<dyn std::error::Error>> {
//!     let app: AppId = "app_1Gqj58ynP0mHeX1q".parse()?;
//!     let funds = app.funds(Mode::Live, FundingSource::Unsettled);
//!     let credit = AccountEntry::Movement {
//!         id: "ch_L8qn10mLmr1GS8e5OODmHaL4".parse()?,
//!         direction: Direction::Credit,
//!         amount: "1000".parse()?, // in the currency's smallest unit
//!         reason: "charge paid".parse()?,
//!     };
//!     Ok(session.record_entries(&funds, &[credit]).await)
//! }
//! ```
//!
//! A customer asks for a refund, and thinks better of it:
//!
//! ```
//! use shared::epay::MerchantId;
//! use shared::ledger::{Application, ApplicationState};
//! use shared::store::{Session, Withdrawing};
//!
//! async fn ask_and_withdraw(session: &Session) -> Result<(), Box<dyn std::error::Error>> {
//!     let merchant: MerchantId = "demo".parse()?;
//!     let application = Application {
//!         key: merchant.application(3),
//!         order_no: "YC20160801003".parse()?,
//!         paid: "2.00".parse()?,
//!         state: ApplicationState::Requested,
//!         failures: None,
//!     };
//!     session.create_application(&application).await?;
//!     match session.withdraw(&application.key, Some("changed my mind")).await? {
//!         Withdrawing::Withdrawn | Withdrawing::Before(_) => println!("withdrawn"),
//!         Withdrawing::Refused(state) => println!("its refund is under way: {state:?}"),
//!         Withdrawing::Unknown => println!("there is none"),
//!     }
//!     Ok(())
//! }
//! ```
//!
//! Charges are recorded by [`Session::record_charge`](crate::store::Session::record_charge), a refund that the payment
//! provider refused by [`Session::fail`](crate::store::Session::fail).

mod entry;
mod record;
mod tenant;

pub use entry::{Entry, InvalidEntry};
pub use record::{Outcome, OutcomeName, Recorder, Refusal, RefusalCode};
pub use tenant::{currency_of, tenant_name};
