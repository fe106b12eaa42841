//! Two tenants of each provider on one table, ours and a rival, each with its own of everything; and one good call of
//! every endpoint by ours.

use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use refundctl::local::with_signer;
use refundctl::send::ebet::sign;
use refundctl::send::epay::DEMO_API_KEY;
use rsa::RsaPrivateKey;
use rsa::pkcs8::{EncodePrivateKey, EncodePublicKey, LineEnding};
use rsa::rand_core::OsRng;
use serde_json::{Value, json};
use tests::entries::bet;
use tests::epay::{BEGIN, END, begin, end, merchant_line};
use tests::pingpp::KEY;
use tests::world::{Instance, World, batch, channel_line, event_of, single};

pub const SINGLE: &str = "refund-single-wallet";
pub const BATCH: &str = "auto-batch-refund";
pub const CREATE: &str = "create-batch-refund";
pub const RETRIEVE: &str = "retrieve-batch-refund";
pub const LIST: &str = "list-batch-refunds";
pub const ENTRIES: &str = "record-entries";

/// Every endpoint.
pub const ENDPOINTS: [&str; 8] = [SINGLE, BATCH, BEGIN, END, CREATE, RETRIEVE, LIST, ENTRIES];

/// The key of our app in live mode.
pub const LIVE_KEY: &str = "sk_live_ibbTe5jLGCi5rzfH4OqPW9KC";
pub const RIVAL_KEY: &str = "sk_test_rivalsKey5rzfH4OqPW9KC";
pub const RIVAL_API_KEY: &str = "the-rival-merchants-own-key";
pub const RIVAL_CHANNEL: u64 = 20177;

/// The rival channel's private key, in PEM.
pub static RIVAL_PEM: LazyLock<String> =
    LazyLock::new(|| rival_key().to_pkcs8_pem(LineEnding::LF).unwrap().to_string());

pub fn rival_key() -> &'static RsaPrivateKey {
    static KEY: LazyLock<RsaPrivateKey> = LazyLock::new(|| RsaPrivateKey::new(&mut OsRng, 1024).unwrap());
    &KEY
}

/// A channel's import line, with the rival's key.
pub fn rival_channel_line() -> Value {
    let mut line = channel_line(RIVAL_CHANNEL);
    line["publicKeys"] = json!([rival_key().to_public_key().to_public_key_pem(LineEnding::LF).unwrap()]);
    line
}

/// The table, and the ids that were made while it was filled.
pub struct Scene {
    pub world: World,
    pub our_batch: String,
    pub live_batch: String,
    pub rival_batch: String,
}

impl Scene {
    pub async fn new() -> Self {
        let world = World::new().await;
        let wallet = |channel: u64, username: &str| json!({"kind": "wallet", "channelId": channel, "username": username, "balance": "10"});
        let debit = |channel: u64, username: &str, seq_no: &str, state: &str| {
            json!({"kind": "debit", "channelId": channel, "username": username, "seqNo": seq_no,
                   "roundCode": format!("round-of-{seq_no}"), "amount": "5", "state": state})
        };
        let application = |merchant: &str, autoid: u64| {
            json!({"kind": "application", "merchant": merchant, "autoid": autoid, "amount": "2.00",
                   "orderNo": format!("order-{autoid}")})
        };
        let app = |app: &str, livemode: bool| {
            json!({"kind": "app", "app": app, "livemode": livemode, "currency": "cny",
                   "unsettledFunds": 1000, "rechargeFunds": 1000})
        };
        let key = |secret: &str, app: &str| json!({"kind": "key", "secret": secret, "apps": [app]});
        let charge = |app: &str, livemode: bool, id: &str| {
            json!({"kind": "charge", "app": app, "livemode": livemode, "id": id, "amount": 10, "currency": "cny",
                   "channel": "wx_pub", "orderNo": format!("order-{id}"), "transactionNo": id,
                   "created": 1_409_634_160, "timePaid": 1_409_634_192})
        };
        world
            .import(&[
                channel_line(1),
                wallet(1, "p"),
                wallet(1, "r"),
                debit(1, "p", "bet", "open"),
                debit(1, "p", "bet2", "open"),
                debit(1, "p", "played", "settled"),
                debit(1, "r", "bet-of-r", "open"),
                rival_channel_line(),
                wallet(RIVAL_CHANNEL, "p"),
                wallet(RIVAL_CHANNEL, "rival"),
                debit(RIVAL_CHANNEL, "p", "their-bet", "open"),
                debit(RIVAL_CHANNEL, "rival", "their-bet2", "open"),
                merchant_line("demo", &[DEMO_API_KEY]),
                application("demo", 8_801),
                application("demo", 8_803),
                merchant_line("rival", &[RIVAL_API_KEY]),
                application("rival", 8_802),
                application("rival", 8_804),
                app("app_1", false),
                app("app_1", true),
                app("app_rival", false),
                key(KEY, "app_1"),
                key(LIVE_KEY, "app_1"),
                key(RIVAL_KEY, "app_rival"),
                charge("app_1", false, "ch_a"),
                charge("app_1", false, "ch_b"),
                charge("app_1", true, "ch_live"),
                charge("app_1", true, "ch_live2"),
                charge("app_rival", false, "ch_rival"),
                charge("app_rival", false, "ch_rival2"),
            ])
            .await;
        for (key, autoid, batch_no) in
            [(DEMO_API_KEY, 8_803, "B-of-ours"), (RIVAL_API_KEY, 8_804, "B-of-rival")]
        {
            let begun = epay(BEGIN, key, &begin(autoid, batch_no, "2")).answer(&world).await;
            assert_eq!(begun.json()["errcode"], 0, "{begun:?}");
        }
        let mut ids = Vec::new();
        for (key, app, batch_no, charge) in [
            (KEY, "app_1", "batchofours", "ch_b"),
            (LIVE_KEY, "app_1", "batchoflive", "ch_live2"),
            (RIVAL_KEY, "app_rival", "batchofrival", "ch_rival2"),
        ] {
            let body = new_batch(app, batch_no, json!([charge]));
            let created = create(key, &body).answer(&world).await;
            assert_eq!(created.status, 200, "{created:?}");
            ids.push(created.json()["id"].as_str().unwrap().to_owned());
        }
        let [our_batch, live_batch, rival_batch] = ids.try_into().unwrap();
        Self { world, our_batch, live_batch, rival_batch }
    }

    /// A good call of an endpoint by ours, which changes something if its endpoint does.
    pub fn good(&self, endpoint: &str) -> Call {
        match endpoint {
            SINGLE => ebet(SINGLE, &single("r", "p", &[("bet", "5")])),
            BATCH => ebet(BATCH, &batch("r", &[("p", "bet", "5")])),
            BEGIN => epay(BEGIN, DEMO_API_KEY, &begin(8_801, "B", "2")),
            END => epay(END, DEMO_API_KEY, &end("B-of-ours", "T", "2")),
            CREATE => create(KEY, &new_batch("app_1", "batch1", json!(["ch_a"]))),
            RETRIEVE => retrieve(KEY, &self.our_batch),
            LIST => list(KEY, "app=app_1"),
            ENTRIES => entries(&[bet("p", "new-bet", "1")]),
            other => panic!("there is no endpoint {other}"),
        }
    }
}

/// A request as a caller sends it.
#[derive(Debug, Clone)]
pub struct Call {
    pub endpoint: &'static str,
    pub method: &'static str,
    /// Its path, and its query if it has one.
    pub uri: String,
    pub headers: Vec<(&'static str, String)>,
    pub body: Vec<u8>,
}

/// What a call is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub body: String,
}

impl Call {
    fn new(endpoint: &'static str, uri: &str, body: Vec<u8>) -> Self {
        let method = if [RETRIEVE, LIST].contains(&endpoint) { "GET" } else { "POST" };
        let headers = vec![("content-type", "application/json".to_owned())];
        Self { endpoint, method, uri: uri.to_owned(), headers, body }
    }

    pub fn with(mut self, header: &'static str, value: &str) -> Self {
        self.headers.push((header, value.to_owned()));
        self
    }

    pub fn without(mut self, header: &str) -> Self {
        self.headers.retain(|(name, _)| *name != header);
        self
    }

    /// The same with another body.
    pub fn saying(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub fn event(&self) -> Value {
        let headers: Vec<(&'static str, &str)> =
            self.headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let mut event = event_of(self.method, &self.uri, &headers, &self.body);
        if self.endpoint == ENTRIES {
            with_signer(&mut event);
        }
        event
    }

    /// The answer of a process that has nothing cached yet.
    pub async fn answer(&self, world: &World) -> Answer {
        self.answer_of(&world.instance_of(self.endpoint)).await
    }

    pub async fn answer_of(&self, instance: &Instance) -> Answer {
        let response = instance.call_event(&self.event().to_string()).await;
        Answer {
            status: response.status_code,
            body: String::from_utf8(response.bytes()).expect("no answer here is BSON"),
        }
    }
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("no JSON: {}", self.body))
    }

    /// The outcome in the protocol's own words: eBET's `status`, EPay's `errcode`, HTTP's status elsewhere.
    pub fn code(&self) -> u64 {
        let json = self.json();
        let told = json["status"].as_u64().or(json["errcode"].as_u64());
        told.unwrap_or_else(|| self.status.into())
    }

    /// Whether what was asked for is done, or was before: in a list of items, any of it.
    pub fn is_success(&self) -> bool {
        let json = self.json();
        let any = |list: &Value, is_one: &dyn Fn(&Value) -> bool| {
            list.as_array().is_some_and(|list| list.iter().any(is_one))
        };
        match &json {
            // A batch is 200 whatever became of its items.
            _ if json["refundResultList"].is_array() => {
                any(&json["refundResultList"], &|group| group["sucRefundSeqNoList"] != json!([]))
            }
            _ if json["event"].is_string() => json["status"] == 200,
            _ if json["entries"].is_array() => any(&json["entries"], &|entry| {
                ["recorded", "unchanged"].contains(&entry["outcome"].as_str().unwrap())
            }),
            _ if json["errcode"].is_number() => json["errcode"] == 0,
            _ => self.status == 200,
        }
    }
}

pub fn ebet(endpoint: &'static str, body: &Value) -> Call {
    Call::new(endpoint, &format!("/{endpoint}"), body.to_string().into())
}

pub fn epay(endpoint: &'static str, key: &str, body: &Value) -> Call {
    Call::new(endpoint, "/api/epay", body.to_string().into()).with("x-api-key", key)
}

pub fn create(key: &str, body: &Value) -> Call {
    Call::new(CREATE, "/v1/batch_refunds", body.to_string().into()).with("authorization", &bearer(key))
}

pub fn retrieve(key: &str, id: &str) -> Call {
    Call::new(RETRIEVE, &format!("/v1/batch_refunds/{id}"), Vec::new()).with("authorization", &bearer(key))
}

pub fn list(key: &str, query: &str) -> Call {
    Call::new(LIST, &format!("/v1/batch_refunds?{query}"), Vec::new()).with("authorization", &bearer(key))
}

pub fn entries(entries: &[Value]) -> Call {
    Call::new(ENTRIES, "/entries", json!({ "entries": entries }).to_string().into())
}

pub fn new_batch(app: &str, batch_no: &str, charges: Value) -> Value {
    json!({"app": app, "batch_no": batch_no, "description": "d", "charges": charges})
}

pub fn bearer(key: &str) -> String {
    format!("Bearer {key}")
}

pub fn basic(key: &str) -> String {
    basic_of(&format!("{key}:"))
}

pub fn basic_of(text: &str) -> String {
    format!("Basic {}", BASE64.encode(text))
}

/// `body` signed over `text` by a private key.
pub fn signed_over(mut body: Value, pem: &str, text: &str) -> Value {
    body["signature"] = json!(sign(pem, text).unwrap());
    body
}
