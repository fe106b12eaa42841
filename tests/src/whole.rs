//! The whole of a table: one with something of everything, changes made to it behind the ledger's back, and the check
//! of all that always holds.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use anyhow::{Result, ensure};
use aws_sdk_dynamodb::types::AttributeValue;
use refundctl::scan::ScanOptions;
use refundctl::send::epay::DEMO_API_KEY;
use refundctl::verify::anchor::{self, Anchor};
use refundctl::verify::{Breach, Spool, Verified, verify};
use serde_json::json;
use shared::pingpp::ChannelAnswer;
use tokio::runtime::Handle;

use crate::deployed::DEPLOYED;
use crate::entries::{bet, credit, past_debit, settle, withdrawal};
use crate::epay::{BEGIN, END, begin, demo, end, merchant_line};
use crate::pingpp::{Told, new, request};
use crate::world::{World, batch, channel_line, signed, single};

/// An item, as DynamoDB has it.
pub type Item = HashMap<String, AttributeValue>;

/// All items, by their keys.
pub type Items = BTreeMap<(String, String), Item>;

pub fn text(text: &str) -> AttributeValue {
    AttributeValue::S(text.to_owned())
}

pub fn number(number: impl ToString) -> AttributeValue {
    AttributeValue::N(number.to_string())
}

impl World {
    /// Something of everything: wallets whose bets were taken, settled and refunded by all who may; an app whose batches
    /// are in every state; a merchant whose applications are.
    pub async fn with_everything() -> Self {
        let world = Self::with_funds("100000", "50000").await;
        world.fill_everything().await;
        world
    }

    /// Puts the rest of everything into a world with funds.
    async fn fill_everything(&self) {
        let world = self;
        world.with_keys().await;
        world.import(&[channel_line(1), merchant_line("demo", &[DEMO_API_KEY])]).await;
        world.wallet_with_debits("p", "100", &[("old1", "20"), ("old2", "30"), ("old3", "7.5")]).await;
        world.wallet_with_debits("quiet", "5", &[]).await;
        let entries = [
            bet("p", "bet1", "10"),
            bet("p", "bet2", "5.25"),
            bet("p", "bet3", "1"),
            credit("p", "payout", "12"),
            withdrawal("p", "out", "3"),
            past_debit("p", "old4", "2"),
            settle("p", "old2"),
            settle("p", "bet3"),
        ];
        for entry in entries {
            let (status, told) = world.entries_instance().record(&[entry]).await;
            assert_eq!(status, 200, "{told:?}");
        }
        world.self_refund(1, "p", "bet2").await;
        let told = world.instance().call(&signed(single("single", "p", &[("bet1", "10")]))).await;
        assert_eq!(told["status"], 200, "{told}");
        let refunds = [("p", "old1", "20"), ("p", "unknown", "1")];
        let told = world.batch_instance().call(&signed(batch("batch", &refunds))).await;
        assert_eq!(told["status"], 200, "{told}");
        world.fill_app().await;
        world.fill_merchant().await;
    }

    async fn fill_app(&self) {
        let names: Vec<String> = (1..=100).map(|number| format!("ch_h{number}")).collect();
        let held: Vec<(&str, u64)> = names.iter().map(|name| (name.as_str(), 10)).collect();
        self.charges(&held).await;
        self.half_created(&names).await;
        self.charges(&[("ch_1", 1000), ("ch_2", 500), ("ch_3", 300), ("ch_4", 70), ("ch_5", 60)]).await;
        let told = Told::refuses(&["ch_2"]);
        told.tell("ch_4", ChannelAnswer::Confirm { url: "https://example.com/".to_owned() });
        for (number, charges) in [
            ("succeeds", vec![("ch_1", Some(400))]),
            ("partly", vec![("ch_1", Some(100)), ("ch_2", None)]),
            ("fails", vec![("ch_2", Some(50))]),
            ("waits", vec![("ch_3", Some(1)), ("ch_4", None)]),
            ("created", vec![("ch_5", None)]),
        ] {
            let accepted = self.session().create_batch(&request(number, &charges), new).await;
            let batch = accepted.result.unwrap().unwrap();
            if number != "created" {
                shared::pingpp::advance(&self.session(), &told, &batch.key, batch.at).await.unwrap();
            }
        }
    }

    async fn fill_merchant(&self) {
        let application = |autoid: i64| {
            json!({"kind": "application", "merchant": "demo", "autoid": autoid, "amount": "2.00",
                   "orderNo": format!("order-{autoid}")})
        };
        self.import(&(1..=5).map(application).collect::<Vec<_>>()).await;
        let (begins, ends) = (self.instance_of(BEGIN), self.instance_of(END));
        for (autoid, number, amount) in [(2, "B2", "2"), (3, "B3", "1.50"), (5, "B5", "2")] {
            assert_eq!(begins.errcode(&begin(autoid, number, amount)).await, 0);
        }
        assert_eq!(ends.errcode(&end("B3", "T3", "1.50")).await, 0);
        // What separates parts of keys may be in a number.
        ends.epay(&end("#nobody's 100%", "T9", "1")).await;
        let session = self.session();
        refundctl::application::withdraw(&session, &demo(), 4, Some("test")).await.unwrap();
        let number = "B5".parse().unwrap();
        refundctl::application::fail(&session, &demo(), 5, &number, Some("test"), &[]).await.unwrap();
    }

    /// All that is wrong with the table.
    pub async fn verified(&self) -> Verified {
        self.verified_within(None).await
    }

    /// All that is wrong with the table, read with so many read units a second.
    pub async fn verified_within(&self, max_rcu: Option<u64>) -> Verified {
        let store = self.store();
        // On a thread of its own: what it reads from its file stays where it is.
        let verifying = tokio::task::spawn_blocking(move || {
            Handle::current().block_on(async {
                let folder = tempfile::tempdir().unwrap();
                let mut spool = Spool::open(&folder.path().join("spool"), 2, false).unwrap();
                verify(&store, max_rcu, &mut spool).await.unwrap()
            })
        });
        verifying.await.unwrap()
    }

    /// All that is wrong with the table, compared with an anchor.
    pub async fn verified_by(&self, anchor: &Path) -> Result<Verified> {
        let folder = tempfile::tempdir().unwrap();
        let mut spool = Spool::open(&folder.path().join("spool"), 2, false).unwrap();
        spool.take_others(Anchor::open(anchor)?.rows()?)?;
        verify(&self.store(), None, &mut spool).await
    }

    /// Writes all heads to a new file.
    pub async fn anchored(&self, file: &Path) {
        let options = ScanOptions { max_rcu: None, segments: 2 };
        anchor::write(&self.store(), "the table of a test", options, file).await.unwrap();
    }

    /// Nothing is wrong with the table.
    pub async fn check_whole(&self, context: &str) {
        let breaches: Vec<Breach> = self.verified().await.breaches;
        assert!(breaches.is_empty(), "{context}: {breaches:#?}");
    }

    /// Nothing is wrong with the table, unless it is a deployed stack's, which grows with each case.
    ///
    /// # Errors
    /// Says what is.
    pub async fn ensure_whole(&self) -> Result<()> {
        if DEPLOYED.is_none() {
            let breaches = self.verified().await.breaches;
            ensure!(breaches.is_empty(), "something is wrong with the table: {breaches:#?}");
        }
        Ok(())
    }

    /// All items as they are.
    pub async fn table_items(&self) -> Items {
        let mut items = Items::new();
        let mut pages = self.client().scan().table_name(&self.table).into_paginator().items().send();
        while let Some(item) = pages.next().await {
            let item = item.unwrap();
            let part = |name: &str| item[name].as_s().unwrap().clone();
            items.insert((part("pk"), part("sk")), item);
        }
        items
    }

    /// All items but those of a sample's players.
    pub async fn everything_items(&self) -> Items {
        let mut items = self.table_items().await;
        items.retain(|(partition, _), _| !partition.contains("player"));
        items
    }

    /// Makes the table's items, which are `now`, what they are `then`.
    pub async fn become_items(&self, now: &Items, then: &Items) {
        for (pk, sk) in now.keys().filter(|key| !then.contains_key(*key)) {
            self.delete(pk, sk).await;
        }
        for (key, item) in then {
            if now.get(key) != Some(item) {
                let put = self.client().put_item().table_name(&self.table).set_item(Some(item.clone()));
                put.send().await.unwrap();
            }
        }
    }
}
