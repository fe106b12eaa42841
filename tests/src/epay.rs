//! EPay's calls in JSON, as most tests need them.

use refundctl::send::epay::DEMO_API_KEY;
use serde_json::{Value, json};
use shared::epay::MerchantId;
use shared::ledger::{ApplicationState, BatchKey};
use shared::store::ApplicationHistory;

use crate::world::{Instance, World, epay_event};

pub const BEGIN: &str = "begin-single-refund";
pub const END: &str = "end-single-refund";

pub fn demo() -> MerchantId {
    "demo".parse().unwrap()
}

pub fn batch(no: &str) -> BatchKey {
    demo().batch(no.parse().unwrap())
}

pub fn begin(autoid: i64, batch_no: &str, amount: &str) -> Value {
    json!({"autoid": autoid, "refundamount": amount, "batch_no": batch_no, "refundaccount": "account"})
}

pub fn end(batch_no: &str, trade_no: &str, amount: &str) -> Value {
    json!({"batchno": batch_no, "trandeno": trade_no, "refundmoney": amount})
}

impl World {
    /// A world with the merchant `demo` and so many applications, each paid 2.00.
    pub async fn with_applications(count: i64) -> Self {
        let world = Self::new().await;
        world.import(&[merchant_line("demo", &[DEMO_API_KEY])]).await;
        let application = |autoid| {
            json!({"kind": "application", "merchant": "demo", "autoid": autoid, "amount": "2.00",
                   "orderNo": format!("order-{autoid}")})
        };
        let lines: Vec<Value> = (1..=count).map(application).collect();
        world.import(&lines).await;
        world
    }

    pub async fn application(&self, autoid: i64) -> ApplicationHistory {
        let history = self.session().application_history(&demo().application(autoid)).await.unwrap();
        history.expect("there is such an application")
    }

    pub async fn application_state(&self, autoid: i64) -> ApplicationState {
        self.application(autoid).await.application.state
    }
}

/// A merchant's import line.
pub fn merchant_line(merchant: &str, keys: &[&str]) -> Value {
    json!({"kind": "merchant", "merchant": merchant, "currency": "CNY", "apiKeys": keys})
}

impl Instance {
    /// Answers a call of the merchant `demo`; the answer's JSON.
    pub async fn epay(&self, body: &Value) -> Value {
        let headers = [("content-type", "application/json"), ("x-api-key", DEMO_API_KEY)];
        let answer = self.call_event(&epay_event(&headers, body.to_string().as_bytes()).to_string()).await;
        assert_eq!(answer.status_code, 200);
        serde_json::from_slice(&answer.bytes()).unwrap()
    }

    /// Its `errcode`.
    pub async fn errcode(&self, body: &Value) -> i64 {
        self.epay(body).await["errcode"].as_i64().expect("there is an errcode")
    }
}
