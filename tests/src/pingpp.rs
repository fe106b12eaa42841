//! Batches of refunds as most tests need them: an app with funds and charges, a payment channel that does as it is
//! told, and a check of all that must always hold.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Mutex;
use std::time::SystemTime;

use aws_sdk_dynamodb::types::AttributeValue;
use futures::future::BoxFuture;
use serde_json::json;
use shared::clock::unix_milliseconds;
use shared::ledger::{
    Account, AskedCharge, BatchRequest, BatchState, Charge, ChargeKey, Created, FingerprintBuilder,
    FundingSource, ItemState, MinorUnits, RefundBatch, RefundBatchKey, TenantKey, check_funds,
};
use shared::pingpp::{
    AppId, ChannelAnswer, ChannelRefund, Event, EventBus, Mode, PaymentChannel, SecretKey, tenant_of,
};

use tokio::sync::Notify;

use crate::faults::dies_at;
use crate::world::World;

/// The app of all tests, in test mode.
pub fn app() -> TenantKey {
    TenantKey::in_mode("pingpp", "app_1", "test")
}

pub fn charge_key(id: &str) -> ChargeKey {
    ChargeKey { tenant: app(), id: id.parse().unwrap() }
}

/// Asks for refunds of charges, all that is left of one without an amount.
pub fn request(batch_no: &str, charges: &[(&str, Option<u64>)]) -> BatchRequest {
    let mut fingerprint = FingerprintBuilder::new("test/1");
    let item = |(charge, amount): &(&str, Option<u64>)| {
        fingerprint.field(Some(charge));
        fingerprint.field(amount.map(|amount| amount.to_string()).as_deref());
        AskedCharge {
            charge: charge.parse().unwrap(),
            amount: amount.map(|amount| MinorUnits::new(amount).unwrap()),
            description: None,
            funding_source: None,
        }
    };
    let items = charges.iter().map(item).collect();
    BatchRequest {
        tenant: app(),
        batch_no: batch_no.parse().unwrap(),
        fingerprint: fingerprint.finish(),
        currency: "CNY".parse().unwrap(),
        description: "a batch".to_owned(),
        metadata: "{}".to_owned(),
        items,
    }
}

/// A new batch's id and time.
pub fn new() -> Option<Created> {
    Some(Created {
        id: format!("15261122093000{:04}", fastrand::u32(0..10_000)).parse().unwrap(),
        at: unix_milliseconds(SystemTime::now()),
    })
}

/// A payment channel that answers as it is told, by the charge's transaction number; it counts what it is asked.
#[derive(Default)]
pub struct Told {
    pub answers: Mutex<HashMap<String, ChannelAnswer>>,
    pub asked: Mutex<Vec<String>>,
    /// Charges that it answers nothing about, until it is told to.
    silent: Mutex<HashSet<String>>,
    spoke: Notify,
}

impl Told {
    pub fn tell(&self, charge: &str, answer: ChannelAnswer) {
        self.answers.lock().unwrap().insert(charge.to_owned(), answer);
    }

    /// Says nothing about a charge until [`Self::speak`].
    pub fn keep_silent(&self, charge: &str) {
        self.silent.lock().unwrap().insert(charge.to_owned());
    }

    pub fn speak(&self) {
        self.silent.lock().unwrap().clear();
        self.spoke.notify_waiters();
    }

    pub fn refuses(charges: &[&str]) -> Self {
        let told = Self::default();
        for charge in charges {
            told.tell(charge, refused());
        }
        told
    }
}

pub fn refused() -> ChannelAnswer {
    ChannelAnswer::Refused { code: "no_account".to_owned(), message: "there is no such account".to_owned() }
}

impl PaymentChannel for Told {
    fn refund<'a>(&'a self, refund: &'a ChannelRefund) -> BoxFuture<'a, ChannelAnswer> {
        let charge = refund.transaction_no.as_ref().map(ToString::to_string).unwrap_or_default();
        self.asked.lock().unwrap().push(charge.clone());
        let answer = self.answers.lock().unwrap().get(&charge).cloned().unwrap_or(ChannelAnswer::Succeeded);
        Box::pin(async move {
            tokio::task::yield_now().await;
            loop {
                let spoke = self.spoke.notified();
                if !self.silent.lock().unwrap().contains(&charge) {
                    return answer;
                }
                spoke.await;
            }
        })
    }
}

/// A bus that keeps what is put on it, and refuses what it is told to.
#[derive(Default)]
pub struct Kept {
    pub events: Mutex<Vec<Event>>,
    /// So many of the next events do not arrive.
    pub refuses: Mutex<usize>,
}

impl Kept {
    /// The kinds and ids of all events, each once.
    pub fn facts(&self) -> BTreeSet<(&'static str, String)> {
        self.events.lock().unwrap().iter().map(|event| (event.kind, event.id.clone())).collect()
    }
}

impl EventBus for Kept {
    fn put<'a>(&'a self, events: &'a [Event]) -> BoxFuture<'a, Vec<Result<(), String>>> {
        let result = |event: &Event| {
            let mut refuses = self.refuses.lock().unwrap();
            if *refuses > 0 {
                *refuses -= 1;
                return Err("made up by a test".to_owned());
            }
            self.events.lock().unwrap().push(event.clone());
            Ok(())
        };
        Box::pin(std::future::ready(events.iter().map(result).collect()))
    }
}

/// The key of the app of all tests.
pub const KEY: &str = "sk_test_ibbTe5jLGCi5rzfH4OqPW9KC";

impl World {
    /// Lets keys call for the app of all tests, in both modes.
    pub async fn with_keys(&self) {
        for livemode in [false, true] {
            let settings = json!({"app": "app_1", "livemode": livemode, "currency": "cny"}).to_string();
            let tenant = "app_1".parse::<AppId>().unwrap().tenant(Mode::of(livemode));
            self.session().put_settings(&tenant, &settings, true).await.unwrap();
        }
        for key in [KEY, "sk_live_ibbTe5jLGCi5rzfH4OqPW9KC"] {
            let key: SecretKey = key.parse().unwrap();
            self.session()
                .put_shared_credential(
                    &key.credential,
                    &["app_1".to_owned()],
                    |app| tenant_of(app, key.mode),
                    true,
                )
                .await
                .unwrap();
        }
    }

    /// A world with the app's funds.
    pub async fn with_funds(unsettled: &str, recharge: &str) -> Self {
        let world = Self::new().await;
        for (source, balance) in [(FundingSource::Unsettled, unsettled), (FundingSource::Recharge, recharge)]
        {
            let key = app().account(source.as_str());
            let account = Account::open(key, "CNY".parse().unwrap(), balance.parse().unwrap());
            world.session().create_account(&account).await.unwrap();
        }
        world
    }

    /// Records paid charges; each one's transaction number is its id.
    pub async fn charges(&self, charges: &[(&str, u64)]) {
        for (id, amount) in charges {
            self.charge_in(id, *amount, "CNY").await;
        }
    }

    /// A batch of 100 charges, every third of them paid from the recharge funds, of which only the first 96 are held:
    /// its creation has died.
    pub async fn half_created(&self, names: &[String]) -> BatchRequest {
        let asked: Vec<(&str, Option<u64>)> = names.iter().map(|name| (name.as_str(), Some(10))).collect();
        let mut asked = request("batch1", &asked);
        for item in asked.items.iter_mut().step_by(3) {
            item.funding_source = Some(FundingSource::Recharge);
        }
        let (session, _wire) = self.session_of("create-batch-refund", dies_at(3, true).0);
        assert!(session.create_batch(&asked, new).await.result.is_err());
        assert_eq!(self.batches().await[0].state, BatchState::Creating);
        asked
    }

    /// Records a paid charge in any currency.
    pub async fn charge_in(&self, id: &str, amount: u64, currency: &str) {
        let charge = Charge {
            key: charge_key(id),
            channel: "wx_pub".parse().unwrap(),
            currency: currency.parse().unwrap(),
            order_no: format!("order-{id}").parse().unwrap(),
            transaction_no: Some(id.parse().unwrap()),
            amount: MinorUnits::new(amount).unwrap(),
            refunded: 0,
            refunded_before: 0,
            holds: Default::default(),
            paid: true,
            created: 1,
            time_paid: Some(2),
            version: 0,
        };
        self.session().create_charge(&charge).await.unwrap();
    }

    pub async fn charge(&self, id: &str) -> Charge {
        self.session().charge(&charge_key(id)).await.unwrap().expect("there is such a charge")
    }

    /// Lets a charge lose the holds that it has.
    pub async fn forget_holds(&self, id: &str) {
        self.set_raw(&charge_key(id).path(), "PAYMENT", "holds", AttributeValue::M(HashMap::new())).await;
    }

    /// So much of a charge was refunded by nobody here knows whom.
    pub async fn refund_elsewhere(&self, id: &str, amount: u64) {
        let refunded = AttributeValue::N(amount.to_string());
        self.set_raw(&charge_key(id).path(), "PAYMENT", "refunded", refunded).await;
        *self.elsewhere.lock().unwrap().entry(id.to_owned()).or_default() += amount;
    }

    pub async fn funds(&self, source: FundingSource) -> Account {
        self.session().funds(&app(), source).await.unwrap().expect("the app has this account")
    }

    /// All batches of the app, those taken back too.
    pub async fn batches(&self) -> Vec<RefundBatch> {
        let mut batches = Vec::new();
        for (pk, sk) in self.keys().await {
            if pk.contains("#batches#") && sk != "MONTHS" {
                let key = RefundBatchKey { tenant: app(), id: sk.parse().unwrap() };
                batches.push(self.session().batch(&key).await.unwrap().unwrap());
            }
        }
        batches
    }

    /// All that must hold at any moment, from the table alone.
    pub async fn check_batches(&self, context: &str) {
        let batches = self.batches().await;
        let mut charges: HashMap<String, Charge> = HashMap::new();
        for (pk, sk) in self.keys().await {
            if sk == "PAYMENT" {
                let id = pk.rsplit('#').next().unwrap().to_owned();
                charges.insert(id.clone(), self.charge(&id).await);
            }
        }
        let mut refunded: HashMap<String, u64> = HashMap::new();
        let (mut holds, mut decided) = (0, 0);
        // What each account has paid, or set aside for what is under way.
        let mut out: HashMap<FundingSource, u64> = HashMap::new();
        for batch in &batches {
            let refunds = self.session().refunds_of(batch).await.unwrap();
            decided += refunds.len();
            let held = match batch.state {
                BatchState::Creating => batch.first_items(),
                BatchState::Created | BatchState::Settling => &batch.items,
                BatchState::Void | BatchState::Ended { .. } => &[],
            };
            for (number, item) in batch.items.iter().enumerate() {
                let id = item.charge.to_string();
                let hold = charges[&id].holds.get(&item.refund);
                let state = refunds.get(&item.refund).map(|refund| &refund.state);
                let is_under_way = matches!(state, None | Some(ItemState::Pending { .. }));
                let is_held = number < held.len() && is_under_way;
                assert_eq!(
                    hold.is_some(),
                    is_held,
                    "{context}: hold of {id} by {} {:?}",
                    batch.key.id,
                    batch.state
                );
                if let Some(hold) = hold {
                    assert_eq!((hold.amount, &hold.batch), (item.amount, &batch.key.id), "{context}");
                    holds += 1;
                }
                if let Some(ItemState::Succeeded { .. }) = state {
                    *refunded.entry(id).or_default() += item.amount.value();
                }
                if batch.state == BatchState::Void {
                    assert!(state.is_none(), "{context}: a refund of a batch that was taken back");
                }
                let is_back = batch.has_given_back(&item.refund);
                let is_failed = matches!(state, Some(ItemState::Failed { .. }));
                assert!(
                    !is_back || is_failed || batch.state == BatchState::Void,
                    "{context}: given back for nothing"
                );
                if let BatchState::Ended { .. } | BatchState::Void = batch.state {
                    assert_eq!(
                        is_back,
                        is_failed || batch.state == BatchState::Void,
                        "{context}: {}",
                        item.refund
                    );
                }
                if !is_back {
                    *out.entry(item.source()).or_default() += item.amount.value();
                }
                if let BatchState::Ended { .. } = batch.state {
                    assert!(!is_under_way, "{context}: an ended batch has a refund under way");
                }
            }
            let owner = self.session().batch_of_number(&app(), &batch.batch_no).await.unwrap();
            let is_owner = owner.as_ref() == Some(&batch.key.id);
            assert_eq!(is_owner, batch.state != BatchState::Void, "{context}: guard of {}", batch.key.id);
        }
        for (id, charge) in &charges {
            assert!(
                charge.refunded + charge.held() <= charge.amount.value(),
                "{context}: {id} is over-refunded"
            );
            let elsewhere = self.elsewhere.lock().unwrap().get(id).copied().unwrap_or_default();
            let by_batches = refunded.get(id).copied().unwrap_or_default();
            assert_eq!(charge.refunded, by_batches + elsewhere, "{context}: {id}");
        }
        let numbers: HashSet<String> = batches.iter().map(|batch| batch.batch_no.to_string()).collect();
        let mut on_record = 0;
        for (pk, sk) in self.keys().await {
            let is_owned = sk != "GUARD" || numbers.contains(pk.rsplit('#').next().unwrap());
            assert!(is_owned, "{context}: {pk} is nobody's number");
            on_record += usize::from(sk.starts_with("REFUND#"));
        }
        assert_eq!(on_record, decided, "{context}: a refund of no batch");
        let all_holds: usize = charges.values().map(|charge| charge.holds.len()).sum();
        assert_eq!(all_holds, holds, "{context}: a hold without a batch");
        for source in FundingSource::ALL {
            let account = self.funds(source).await;
            let found = self.session().wallet(&account.key).await.unwrap().expect("it has its account");
            check_funds(&account, source, &batches, &found.movements)
                .unwrap_or_else(|breach| panic!("{context}: {breach}"));
            let out = rust_decimal::Decimal::from(out.get(&source).copied().unwrap_or_default());
            let moved: rust_decimal::Decimal = found
                .movements
                .iter()
                .map(|movement| movement.posting.after.value() - movement.posting.before.value())
                .sum();
            assert_eq!(
                account.opening.value() - out + moved,
                account.balance.value(),
                "{context}: {source:?}"
            );
        }
    }
}
