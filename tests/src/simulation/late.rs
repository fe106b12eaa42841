//! What arrives late, when whoever sent it was told otherwise, comes to nothing: each write that is made without a read
//! before it, or again where nobody heard of it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use dynoxide::Database;
use refundctl::import::{self, Source};
use serde_json::{Value, json};
use shared::ledger::{
    ApplicationRefund, ApplicationState, BatchGuard, BatchRefusal, BatchRequest, BatchState, BeginRefusal,
    ChargeProblem, Confirmation, FundingSource, ItemState, RefundBatch, RefundId,
};
use shared::limits::simulated::ACTIONS_PER_TRANSACTION;
use shared::mutants::{self, Decision};
use shared::pingpp::{ChannelAnswer, Decided, advance, decide_refund};
use shared::store::{Deadline, Failing, Session, Store, StoreError, Withdrawing};

use super::operators::{APPS, app, key};
use super::{mutant, now, sdk, table, template};
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
    /// So many more calls of this operation, or with this text, are kept back, and their senders told of an internal error.
    keeps: (&'static str, usize),
    kept: Vec<Call>,
    /// The next read of several items is of two moments: what was kept back arrives before accounts are read.
    is_torn: bool,
    /// These arrive before the next query does.
    before_query: Vec<Call>,
}

impl Slow {
    async fn new(lines: &[Value]) -> Self {
        let embedded = Embedded { database: Database::memory().unwrap() };
        let mail: Arc<Mutex<Mail>> = Arc::default();
        let (own, behind) = (mail.clone(), embedded.clone());
        let network = network(move |operation, asked| {
            let mut mail = own.lock().unwrap();
            if operation == "BatchGetItem" && std::mem::take(&mut mail.is_torn) {
                let (write, late) = mail.kept.pop().expect("something was kept back");
                return torn(&behind, asked, || behind.carry_out(&write, &late).0);
            }
            if operation == "Query" {
                for (write, late) in std::mem::take(&mut mail.before_query) {
                    let (status, answer) = behind.carry_out(&write, &late);
                    assert_eq!(status, 200, "{answer}");
                }
            }
            let (what, count) = mail.keeps;
            if count == 0 || !(operation == what || asked.contains(what)) {
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

    /// Asks for a batch while all calls of or with `what` are kept back: nobody hears what becomes of it.
    async fn ask_in_vain(&self, what: &'static str, asked: &BatchRequest) {
        self.keep(what, usize::MAX);
        let undecided = self.session(1).create_batch(asked, pingpp::new).await.result;
        assert!(matches!(undecided, Err(StoreError::DeadlinePassed { .. })), "{undecided:?}");
        self.keep("", 0);
    }

    fn keep(&self, what: &'static str, calls: usize) {
        self.mail.lock().unwrap().keeps = (what, calls);
    }

    /// What was kept back arrives, the last of it: it is no longer known by its token. Whether it is carried out.
    fn deliver(&self) -> bool {
        let (operation, asked) = self.mail.lock().unwrap().kept.pop().expect("something was kept back");
        self.arrive(&operation, &asked)
    }

    /// The same of what was kept back as it would be without a condition.
    fn deliver_without(&self, write: &str, part: &str) -> bool {
        let (operation, asked) = self.mail.lock().unwrap().kept.pop().expect("something was kept back");
        let asked = mutant::without(write, part, &operation, &asked).expect("it has this condition");
        self.arrive(&operation, &asked)
    }

    fn arrive(&self, operation: &str, asked: &str) -> bool {
        let mut asked: Value = serde_json::from_str(asked).unwrap();
        asked.as_object_mut().unwrap().remove("ClientRequestToken");
        let (status, answer) = self.embedded.carry_out(operation, &asked.to_string());
        assert!(status == 200 || answer.contains("ConditionalCheckFailed"), "{status} {answer}");
        status == 200
    }
}

/// A read, between whose items and whose accounts something happens.
fn torn(embedded: &Embedded, asked: &str, between: impl FnOnce() -> u16) -> (u16, String) {
    let asked: Value = serde_json::from_str(asked).unwrap();
    let read = |of_accounts: bool| {
        let mut half = asked.clone();
        let keys = half["RequestItems"][table::NAME]["Keys"].as_array_mut().unwrap();
        keys.retain(|key| (key["sk"]["S"] == "ACCOUNT") == of_accounts);
        let (status, answer) = embedded.carry_out("BatchGetItem", &half.to_string());
        assert_eq!(status, 200, "{answer}");
        serde_json::from_str::<Value>(&answer).unwrap()
    };
    let mut answer = read(false);
    assert_eq!(between(), 200);
    let accounts = read(true)["Responses"][table::NAME].take();
    let items = answer["Responses"][table::NAME].as_array_mut().unwrap();
    items.extend(accounts.as_array().unwrap().iter().cloned());
    (200, answer.to_string())
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

    assert!(!slow.deliver());
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

    assert!(!slow.deliver());
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

    assert!(!slow.deliver());
    assert_eq!(state(&session).await, ApplicationState::Requested);
    assert!(matches!(session.withdraw(&key, None).await.unwrap(), Withdrawing::Withdrawn));
}

/// What somebody is told who fails a refund, where another call's failure and then a confirmation come between the reading
/// of its state and that of its confirmations.
async fn fails_beside_another() -> Failing {
    let slow = Slow::new(&[merchant(), application()]).await;
    let session = slow.session(20);
    session.begin(&asked("B1")).await.result.unwrap().unwrap();
    let batch = demo().batch("B1".parse().unwrap());
    let said = Confirmation {
        trade_no: "trade".parse().unwrap(),
        amount: "2".parse().unwrap(),
        at: 2,
        invocation: "invocation".to_owned(),
    };
    let (application, number) = (demo().application(7), batch.no.clone());

    slow.keep("TransactWriteItems", usize::MAX);
    let undecided = slow.session(1).fail(&application, &number, None, &[]).await;
    assert!(matches!(undecided, Err(StoreError::DeadlinePassed { .. })), "{undecided:?}");
    let failure = slow.mail.lock().unwrap().kept.pop().unwrap();
    slow.keep("PutItem", usize::MAX);
    let undecided = slow.session(1).end(&batch, &said).await.result;
    assert!(matches!(undecided, Err(StoreError::DeadlinePassed { .. })), "{undecided:?}");
    let confirmation = slow.mail.lock().unwrap().kept.pop().unwrap();
    slow.keep("", 0);

    slow.mail.lock().unwrap().before_query = vec![failure, confirmation];
    let told = session.fail(&application, &number, None, &[]).await.unwrap();
    assert_eq!(state(&session).await, ApplicationState::Requested);
    told
}

#[tokio::test]
async fn a_refund_that_has_failed_is_not_told_to_be_confirmed_and_under_way() {
    assert!(matches!(fails_beside_another().await, Failing::Before(_)));
    let _wrong = mutants::switch_on(Decision::ConfirmedIsToldAtOnce);
    assert!(matches!(fails_beside_another().await, Failing::Confirmed(_)));
}

#[tokio::test]
async fn a_first_half_of_a_batch_that_was_told_refused_is_not_put_when_what_stood_in_its_way_is_gone() {
    first_half_comes_late(false).await;
}

#[tokio::test]
async fn it_would_be_if_first_transactions_were_not_outdated() {
    let _wrong = mutants::switch_on(Decision::LateBatchIsNotOutdated);
    first_half_comes_late(true).await;
}

/// A table with funds, and so many charges of 30.
async fn slow_with_charges(count: usize) -> Slow {
    slow_with(200, count).await
}

async fn slow_with(funds: u64, count: usize) -> Slow {
    let charge = |number: usize| {
        json!({"kind": "charge", "app": "app_1", "livemode": false, "id": format!("ch_{number}"), "amount": 30,
               "currency": "cny", "channel": "wx_pub", "orderNo": format!("order{number}"), "created": 1,
               "paid": true, "timePaid": 2, "transactionNo": format!("t{number}")})
    };
    let funds = json!({"kind": "app", "app": "app_1", "livemode": false, "currency": "cny", "unsettledFunds": funds,
                       "rechargeFunds": 100});
    let lines: Vec<Value> = [funds].into_iter().chain((0..count).map(charge)).collect();
    Slow::new(&lines).await
}

/// An operator decides that a batch's first refund has failed.
async fn fail_first(session: &Session, batch: &RefundBatch) {
    let decided = decide_first_failed(session, batch).await.unwrap();
    assert!(matches!(decided, Some(Decided::Done { .. })), "{decided:?}");
}

async fn decide_first_failed(session: &Session, batch: &RefundBatch) -> Result<Option<Decided>, StoreError> {
    let failed = ItemState::Failed { at: 3, code: "no".to_owned(), message: "no".to_owned() };
    decide_refund(session, &batch.key, &batch.items[0].refund, failed, now()).await
}

async fn first_half_comes_late(is_wrong: bool) {
    let slow = slow_with_charges(3).await;
    // Two charges are held at once, and the third one after them.
    ACTIONS_PER_TRANSACTION.set(Some(6));
    let large = pingpp::request("large", &[("ch_0", None), ("ch_1", None), ("ch_2", None)]);
    slow.ask_in_vain("TransactWriteItems", &large).await;

    let session = slow.session(20);
    let mut small = pingpp::request("small", &[("ch_2", None)]);
    // What is to be paid by the others is as it was.
    small.items[0].funding_source = Some(FundingSource::Recharge);
    let small = session.create_batch(&small, pingpp::new).await.result.unwrap().unwrap();
    let told = session.create_batch(&large, pingpp::new).await.result.unwrap();
    let refusal = BatchRefusal::Charge { position: 2, problem: ChargeProblem::FullyRefunded };
    assert_eq!(told, Err(refusal));
    fail_first(&session, &small).await;

    if is_wrong {
        assert!(slow.deliver(), "it comes after all");
        ACTIONS_PER_TRANSACTION.set(None);
        return;
    }
    assert!(!slow.deliver());
    // It is refunded by who asks again.
    let batch = session.create_batch(&large, pingpp::new).await.result.unwrap().unwrap();
    assert_eq!(batch.state, BatchState::Created);
    ACTIONS_PER_TRANSACTION.set(None);
}

/// Whether a batch is taken back late, by what its funds were before another batch.
async fn is_taken_back_late(deliver: impl FnOnce(&Slow) -> bool) -> bool {
    let slow = slow_with_charges(4).await;
    // Two charges are held at once, and the third one, which is another's, after them.
    ACTIONS_PER_TRANSACTION.set(Some(6));
    let large = pingpp::request("large", &[("ch_0", None), ("ch_1", None), ("ch_2", None)]);
    let others = slow.session(20);
    // It is taken between the large one's two transactions: before it began, it would be refused at once.
    slow.ask_in_vain("#state = :created", &large).await;
    slow.mail.lock().unwrap().kept.clear();
    let mut small = pingpp::request("small", &[("ch_2", None)]);
    small.items[0].funding_source = Some(FundingSource::Recharge);
    others.create_batch(&small, pingpp::new).await.result.unwrap().unwrap();
    slow.ask_in_vain("#state = :void", &large).await;

    let another = pingpp::request("another", &[("ch_3", None)]);
    others.create_batch(&another, pingpp::new).await.result.unwrap().unwrap();
    let is_taken_back = deliver(&slow);
    ACTIONS_PER_TRANSACTION.set(None);
    is_taken_back
}

#[tokio::test]
async fn a_batch_is_not_taken_back_by_what_its_funds_were_before() {
    assert!(!is_taken_back_late(Slow::deliver).await);
    let account = "Update pingpp ACCOUNT";
    assert!(is_taken_back_late(|slow| slow.deliver_without(account, "#sequence = :read")).await);
}

/// Whether a refund waits for someone to confirm it again, though it has been decided since.
async fn is_pending_again(deliver: impl FnOnce(&Slow) -> bool) -> bool {
    let slow = slow_with_charges(1).await;
    let (session, asked) = (slow.session(20), pingpp::request("batch", &[("ch_0", None)]));
    let batch = session.create_batch(&asked, pingpp::new).await.result.unwrap().unwrap();
    let channel = pingpp::Told::default();
    channel.tell("t0", ChannelAnswer::Confirm { url: "https://example.com/".to_owned() });
    // What is sent again arrives.
    slow.keep("TransactWriteItems", 1);
    advance(&session, &channel, &batch.key, now()).await.unwrap();

    fail_first(&session, &batch).await;
    deliver(&slow)
}

#[tokio::test]
async fn a_refund_that_was_decided_is_not_pending_again() {
    assert!(!is_pending_again(Slow::deliver).await);
    let refund = "Put pingpp REFUND";
    let part = "attribute_not_exists(#partition) OR #state = :pending";
    assert!(is_pending_again(|slow| slow.deliver_without(refund, part)).await);
}

/// A batch that asks for all that is left of a charge, and is read while another one takes a part of both, charge and funds.
async fn asks_for_what_is_left() -> Result<u64, BatchRefusal> {
    let slow = slow_with(30, 1).await;
    let part = pingpp::request("part", &[("ch_0", Some(20))]);
    slow.ask_in_vain("TransactWriteItems", &part).await;
    asks_between(&slow).await
}

/// How much is refunded to who asks for all that is left of a charge, between whose reading and that of the accounts what
/// was kept back arrives.
async fn asks_between(slow: &Slow) -> Result<u64, BatchRefusal> {
    slow.mail.lock().unwrap().is_torn = true;
    let asked = pingpp::request("rest", &[("ch_0", None)]);
    let told = slow.session(20).create_batch(&asked, pingpp::new).await.result.unwrap();
    told.map(|batch| batch.items[0].amount.value())
}

#[tokio::test]
async fn a_batch_is_not_refused_for_funds_that_never_were_beside_its_charges() {
    assert_eq!(asks_for_what_is_left().await, Ok(10));
    let _wrong = mutants::switch_on(Decision::LackOfFundsIsNotReadAgain);
    let refusal = BatchRefusal::InsufficientFunds { source: FundingSource::Unsettled };
    assert_eq!(asks_for_what_is_left().await, Err(refusal));
}

/// A batch that asks for a charge whose refund fails between the reading of the charge and that of the batch that held it.
async fn asks_for_what_is_free() -> Result<u64, BatchRefusal> {
    let slow = slow_with_charges(1).await;
    let asked = pingpp::request("batch", &[("ch_0", None)]);
    let batch = slow.session(20).create_batch(&asked, pingpp::new).await.result.unwrap().unwrap();
    slow.keep("TransactWriteItems", usize::MAX);
    let undecided = decide_first_failed(&slow.session(1), &batch).await;
    assert!(undecided.is_err(), "{undecided:?}");
    slow.keep("", 0);

    asks_between(&slow).await
}

#[tokio::test]
async fn a_batch_is_not_refused_for_a_charge_that_has_become_free() {
    assert_eq!(asks_for_what_is_free().await, Ok(30));
    let _wrong = mutants::switch_on(Decision::WhatIsLeftIsNotReadAgain);
    let refusal = BatchRefusal::Charge { position: 0, problem: ChargeProblem::FullyRefunded };
    assert_eq!(asks_for_what_is_free().await, Err(refusal));
}
