//! What arrives late, when whoever sent it was told otherwise, comes to nothing: each write that is made without a read
//! before it, or again where nobody heard of it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use dynoxide::Database;
use refundctl::import::{self, Source};
use serde_json::{Value, json};
use shared::ledger::{
    ApplicationRefund, ApplicationState, BatchGuard, BatchRefusal, BatchState, BeginRefusal, ChargeProblem,
    FundingSource, ItemState, RefundId,
};
use shared::limits::simulated::ACTIONS_PER_TRANSACTION;
use shared::pingpp::{Decided, decide_refund};
use shared::store::{Deadline, Session, Store, StoreError, Withdrawing};

use super::operators::{APPS, app, key};
use super::{now, sdk, table, template};
use crate::embedded::{Call, Embedded, network};
use crate::epay::demo;
use crate::pingpp;

/// A table behind a network that keeps calls back.
struct Slow {
    embedded: Embedded,
    store: Store,
    mail: Arc<Mutex<Mail>>,
}

#[derive(Default)]
struct Mail {
    /// So many more calls of this operation are kept back, and their senders told of an internal error.
    keeps: (&'static str, usize),
    kept: Vec<Call>,
}

impl Slow {
    async fn new(lines: &[Value]) -> Self {
        let embedded = Embedded { database: Database::memory().unwrap() };
        let mail: Arc<Mutex<Mail>> = Arc::default();
        let (own, behind) = (mail.clone(), embedded.clone());
        let network = network(move |operation, asked| {
            let mut mail = own.lock().unwrap();
            if mail.keeps.0 != operation || mail.keeps.1 == 0 {
                drop(mail);
                return behind.carry_out(operation, asked);
            }
            mail.keeps.1 -= 1;
            mail.kept.push((operation.to_owned(), asked.to_owned()));
            let kind = "com.amazonaws.dynamodb.v20120810#InternalServerError";
            (500, json!({"__type": kind, "message": "later"}).to_string())
        });
        let client = Client::from_conf(sdk().await.to_builder().http_client(network).build());
        template().table.create_if_absent(&client, table::NAME).await.unwrap();
        let slow = Self { embedded, store: Store::new(client, table::NAME), mail };
        slow.import(lines).await;
        slow
    }

    async fn import(&self, lines: &[Value]) {
        let lines: Vec<String> = lines.iter().map(Value::to_string).collect();
        let source = Source::text(lines.join("\n"));
        let report = import::run(&self.store, source, &import::Settings::default()).await.unwrap();
        assert!(report.conflicts.is_empty(), "{report}");
    }

    fn session(&self, seconds: u64) -> Session {
        self.store.session(Deadline::after(Duration::from_secs(seconds)))
    }

    fn keep(&self, operation: &'static str, calls: usize) {
        self.mail.lock().unwrap().keeps = (operation, calls);
    }

    /// What was kept back arrives, the last of it: it is no longer known by its token. It must be refused.
    fn deliver(&self) {
        let (operation, asked) = self.mail.lock().unwrap().kept.pop().expect("something was kept back");
        let mut asked: Value = serde_json::from_str(&asked).unwrap();
        asked.as_object_mut().unwrap().remove("ClientRequestToken");
        let (status, answer) = self.embedded.carry_out(&operation, &asked.to_string());
        assert!(status == 400 && answer.contains("ConditionalCheckFailed"), "{status} {answer}");
    }
}

#[tokio::test]
async fn a_change_of_a_key_that_arrives_late_does_not_undo_one_after_which_all_looks_as_before_it() {
    let slow = Slow::new(&[]).await;
    let session = slow.session(20);
    let ids = |count: usize| APPS[..count].iter().map(|id| (*id).to_owned()).collect::<Vec<_>>();
    let key = key(0);
    session.put_shared_credential(&key, &ids(1), app, false).await.unwrap();
    slow.keep("TransactWriteItems", 1);
    session.change_shared_credential(&key, |_| ids(2), app, None).await.unwrap();
    session.change_shared_credential(&key, |_| ids(1), app, None).await.unwrap();

    slow.deliver();
    assert_eq!(session.shared_credential(&key).await.unwrap(), Some(ids(1)));
    assert!(session.keys_of_tenant(&app(APPS[1])).await.unwrap().is_empty());
}

fn merchant() -> Value {
    crate::epay::merchant_line("demo", &["aKeyOfTheMerchant"])
}

fn application() -> Value {
    json!({"kind": "application", "merchant": "demo", "autoid": 7, "amount": "2", "orderNo": "order"})
}

async fn state(session: &Session) -> ApplicationState {
    session.application_history(&demo().application(7)).await.unwrap().unwrap().application.state
}

fn asked(batch_no: &str) -> BatchGuard {
    let batch_no: shared::ledger::BatchNo = batch_no.parse().unwrap();
    BatchGuard {
        application: demo().application(7),
        refund: ApplicationRefund {
            id: RefundId::of(&demo().batch(batch_no.clone())),
            batch_no,
            amount: "2".parse().unwrap(),
            account: "account".parse().unwrap(),
            at: 1,
            invocation: "invocation".to_owned(),
        },
        failed_at: None,
    }
}

#[tokio::test]
async fn a_begin_of_an_application_that_was_told_unknown_does_not_begin_it_when_it_comes() {
    let slow = Slow::new(&[merchant()]).await;
    let session = slow.session(20);
    slow.keep("TransactWriteItems", 1);
    let told = session.begin(&asked("B1")).await.result.unwrap();
    assert_eq!(told, Err(BeginRefusal::UnknownApplication));
    slow.import(&[application()]).await;

    slow.deliver();
    assert_eq!(state(&session).await, ApplicationState::Requested);
    // Asked for again, it begins, under this number or another.
    assert_eq!(session.begin(&asked("B1")).await.result.unwrap(), Ok(asked("B1").refund));
    slow.import(&[application()]).await;
}

#[tokio::test]
async fn a_withdrawal_of_an_application_that_was_told_unknown_does_not_end_it_when_it_comes() {
    let slow = Slow::new(&[merchant()]).await;
    let session = slow.session(20);
    let key = demo().application(7);
    slow.keep("UpdateItem", 1);
    assert!(matches!(session.withdraw(&key, None).await.unwrap(), Withdrawing::Unknown));
    slow.import(&[application()]).await;

    slow.deliver();
    assert_eq!(state(&session).await, ApplicationState::Requested);
    assert!(matches!(session.withdraw(&key, None).await.unwrap(), Withdrawing::Withdrawn));
}

#[tokio::test]
async fn a_first_half_of_a_batch_that_was_told_refused_is_not_put_when_what_stood_in_its_way_is_gone() {
    let charge = |number: usize| {
        json!({"kind": "charge", "app": "app_1", "livemode": false, "id": format!("ch_{number}"), "amount": 30,
               "currency": "cny", "channel": "wx_pub", "orderNo": format!("order{number}"), "created": 1,
               "paid": true, "timePaid": 2, "transactionNo": format!("t{number}")})
    };
    let funds = json!({"kind": "app", "app": "app_1", "livemode": false, "currency": "cny", "unsettledFunds": 100,
                       "rechargeFunds": 100});
    let slow = Slow::new(&[funds, charge(0), charge(1), charge(2)]).await;
    // Two charges are held at once, and the third one after them.
    ACTIONS_PER_TRANSACTION.set(Some(6));
    slow.keep("TransactWriteItems", usize::MAX);
    let large = pingpp::request("large", &[("ch_0", None), ("ch_1", None), ("ch_2", None)]);
    let undecided = slow.session(1).create_batch(&large, pingpp::new).await.result;
    assert!(matches!(undecided, Err(StoreError::DeadlinePassed { .. })), "{undecided:?}");
    slow.keep("", 0);

    let session = slow.session(20);
    let mut small = pingpp::request("small", &[("ch_2", None)]);
    // What is to be paid by the others is as it was.
    small.items[0].funding_source = Some(FundingSource::Recharge);
    let small = session.create_batch(&small, pingpp::new).await.result.unwrap().unwrap();
    let told = session.create_batch(&large, pingpp::new).await.result.unwrap();
    let refusal = BatchRefusal::Charge { position: 2, problem: ChargeProblem::FullyRefunded };
    assert_eq!(told, Err(refusal));
    let failed = ItemState::Failed { at: 3, code: "no".to_owned(), message: "no".to_owned() };
    let decided = decide_refund(&session, &small.key, &small.items[0].refund, failed, now()).await.unwrap();
    assert!(matches!(decided, Some(Decided::Done { .. })), "{decided:?}");

    slow.deliver();
    // It is refunded by who asks again.
    let batch = session.create_batch(&large, pingpp::new).await.result.unwrap().unwrap();
    assert_eq!(batch.state, BatchState::Created);
    ACTIONS_PER_TRANSACTION.set(None);
}
