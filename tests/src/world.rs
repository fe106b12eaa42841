//! A fresh table for one test, and functions on it.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::SharedHttpClient;
use aws_sdk_dynamodb::types::AttributeValue;
use axum::http::{HeaderMap, HeaderValue, Uri, header};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use refundctl::functions::function;
use refundctl::import::{self, Source};
pub use refundctl::local::Stream;
use refundctl::local::{http_api_event, open_database, with_signer};
use refundctl::sample::Sample;
use refundctl::self_refund;
use refundctl::send::ebet::{DEMO_KEY, sign};
use refundctl::template::Template;
use serde_json::{Value, json};
use shared::aws;
use shared::ebet::ChannelId;
use shared::edge::{Function, Invocation, Response, invoke};
use shared::ledger::{
    AskedItem, AskedRefund, DebitKey, FingerprintBuilder, RefundRequest, RefundedBy, TenantKey,
};
use shared::store::{self, Deadline, Session, Store, Wallet};
use tokio::net::TcpListener;
use tokio::sync::OwnedMutexGuard;

use crate::deployed::DEPLOYED;
use crate::documented;
use crate::permissions::Permissions;
use crate::wire::{Fault, Faults, Wire};

/// A table of its own: embedded, or in the DynamoDB that `DYNAMODB_ENDPOINT` names; or all of a deployed stack's.
pub struct World {
    client: Client,
    /// What of charges was refunded by others than batches here.
    pub elsewhere: Mutex<HashMap<String, u64>>,
    pub endpoint: String,
    pub table: String,
    /// Of a stack's table, which all worlds share, one after another.
    _alone: Option<OwnedMutexGuard<()>>,
}

/// Whether the tables are in the embedded store, which bills as DynamoDB does and answers in no time, or in
/// the DynamoDB that `DYNAMODB_ENDPOINT` names: DynamoDB Local counts units by rules of its own, and
/// takes hundreds of milliseconds for a large transaction.
pub fn is_embedded() -> bool {
    std::env::var_os("DYNAMODB_ENDPOINT").is_none()
}

/// The public half of the demo key, which signs for every channel here unless it has its own.
pub fn public_key() -> String {
    use rsa::pkcs8::{DecodePrivateKey, EncodePublicKey, LineEnding};
    let key = rsa::RsaPrivateKey::from_pkcs8_pem(DEMO_KEY).unwrap();
    key.to_public_key().to_public_key_pem(LineEnding::LF).unwrap()
}

/// A channel's import line, with any age of signatures allowed.
pub fn channel_line(id: u64) -> Value {
    json!({"kind": "channel", "channelId": id, "currency": "CNY", "publicKeys": [public_key()], "maxAge": 0})
}

impl World {
    pub async fn new() -> Self {
        let alone = match &*DEPLOYED {
            Some(deployed) => Some(deployed.alone.clone().lock_owned().await),
            None => None,
        };
        let (endpoint, table) = match (std::env::var("DYNAMODB_ENDPOINT"), &*DEPLOYED) {
            (Ok(endpoint), Some(deployed)) => {
                assert!(
                    endpoint.starts_with("http://127.0.0.1:"),
                    "all that is in a stack's table is deleted"
                );
                (endpoint, deployed.table.clone())
            }
            (Err(_), Some(_)) => panic!("with REFUNDS_URL set DYNAMODB_ENDPOINT"),
            (Ok(endpoint), None) => (endpoint, format!("refunds-test-{:016x}", fastrand::u64(..))),
            (Err(_), None) => {
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                let endpoint = format!("http://{}", listener.local_addr().unwrap());
                tokio::spawn(dynoxide::server::serve_on(listener, open_database(None).unwrap()));
                (endpoint, "refunds-test".to_owned())
            }
        };
        let client = store::client(Some(&endpoint)).await;
        if DEPLOYED.is_none() {
            Template::built_in().unwrap().table.create_if_absent(&client, &table).await.unwrap();
        }
        let world = Self { client, elsewhere: Mutex::default(), endpoint, table, _alone: alone };
        if DEPLOYED.is_some() {
            for (pk, sk) in world.keys().await {
                world.delete(&pk, &sk).await;
            }
        }
        world
    }

    /// A world with one channel (number 1).
    pub async fn with_channel() -> Self {
        let world = Self::new().await;
        world.import(&[channel_line(1)]).await;
        world
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    pub fn store(&self) -> Store {
        Store::new(self.client.clone(), &self.table)
    }

    pub fn session(&self) -> Session {
        self.store().session(Deadline::after(Duration::from_secs(20)))
    }

    pub async fn import(&self, lines: &[Value]) {
        let text: Vec<String> = lines.iter().map(Value::to_string).collect();
        self.import_text(text.join("\n")).await;
    }

    /// Imports lines; settings that are there already are replaced.
    pub async fn import_replacing(&self, lines: &[Value]) {
        let text: Vec<String> = lines.iter().map(Value::to_string).collect();
        let settings = import::Settings { replace: true };
        let report = import::run(&self.store(), Source::text(text.join("\n")), &settings).await.unwrap();
        assert!(report.conflicts.is_empty(), "{report}");
    }

    /// Imports lines as they are written.
    pub async fn import_lines(&self, text: String) {
        self.import_text(text).await;
    }

    async fn import_text(&self, text: String) {
        let report = import::run(&self.store(), Source::text(text), &import::Settings::default()).await;
        let report = report.unwrap();
        assert!(report.conflicts.is_empty(), "{report}");
    }

    /// Puts the settings of channel 1 on record as they are, whatever they were.
    pub async fn put_settings(&self, settings: &Value) {
        let change = self.session().put_settings(&ChannelId(1).tenant(), &settings.to_string(), true).await;
        change.unwrap();
    }

    /// A process of `record-entries`, with nothing cached yet.
    pub fn entries_instance(&self) -> Instance {
        self.instance_of("record-entries")
    }

    pub async fn wallet_with_debits(&self, username: &str, balance: &str, debits: &[(&str, &str)]) {
        let wallet = json!({"kind": "wallet", "channelId": 1, "username": username, "balance": balance});
        let debit = |(seq_no, amount): &(&str, &str)| {
            json!({"kind": "debit", "channelId": 1, "username": username, "seqNo": seq_no,
                   "roundCode": "B1-1", "amount": amount})
        };
        let lines: Vec<Value> = [wallet].into_iter().chain(debits.iter().map(debit)).collect();
        self.import(&lines).await;
    }

    /// A refund that the channel makes on its own.
    pub async fn self_refund(&self, channel: u64, username: &str, seq_no: &str) {
        let (username, seq_no) = (username.parse().unwrap(), seq_no.parse().unwrap());
        self_refund::run(&self.store(), ChannelId(channel), &username, &seq_no).await.unwrap();
    }

    /// Puts a sample's wallets and debits on record.
    pub async fn import_sample(&self, sample: Sample, debits: u64) {
        let mut lines = Vec::new();
        sample.write(debits, &mut lines).unwrap();
        self.import_text(String::from_utf8(lines).unwrap()).await;
    }

    /// A player's wallet, with its chain checked.
    pub async fn wallet(&self, username: &str) -> Wallet {
        self.wallet_of(1, username).await
    }

    pub async fn wallet_of(&self, channel: u64, username: &str) -> Wallet {
        let account = ChannelId(channel).wallet(&username.parse().unwrap());
        let wallet = self.session().wallet(&account).await.unwrap().expect("there is such a wallet");
        wallet.check().expect("the chain is intact");
        wallet
    }

    pub async fn balance(&self, username: &str) -> String {
        self.wallet(username).await.account.balance.to_string()
    }

    /// Every item of the table but tombstones, in a fixed order: for showing that nothing changed.
    pub async fn dump(&self) -> Vec<String> {
        let (tombstones, others): (Vec<Value>, _) = self.items().await.into_iter().partition(is_tombstone);
        drop(tombstones);
        others.iter().map(Value::to_string).collect()
    }

    /// The debits that are not there, and whose refund was asked for: `pk sk`, sorted.
    pub async fn tombstones(&self) -> Vec<String> {
        let items = self.items().await.into_iter().filter(is_tombstone);
        let key = |item: Value| format!("{} {}", item["pk"].as_str().unwrap(), item["sk"].as_str().unwrap());
        items.map(key).collect()
    }

    /// Every item of the table, in a fixed order.
    pub async fn items(&self) -> Vec<Value> {
        let mut items = Vec::new();
        let mut pages = self.client.scan().table_name(&self.table).into_paginator().items().send();
        while let Some(item) = pages.next().await {
            items.push(as_json(&AttributeValue::M(item.unwrap())));
        }
        items.sort_by_key(|item| (item["pk"].to_string(), item["sk"].to_string()));
        items
    }

    /// The keys of every item of the table.
    pub async fn keys(&self) -> Vec<(String, String)> {
        let mut keys = Vec::new();
        let mut pages = self.client.scan().table_name(&self.table).into_paginator().items().send();
        while let Some(item) = pages.next().await {
            let item = item.unwrap();
            let text = |name: &str| item[name].as_s().unwrap().clone();
            keys.push((text("pk"), text("sk")));
        }
        keys
    }

    /// One attribute of one item, as DynamoDB has it.
    pub async fn raw(&self, pk: &str, sk: &str, attribute: &str) -> AttributeValue {
        let call = self.client.get_item().table_name(&self.table).consistent_read(true);
        let call =
            call.key("pk", AttributeValue::S(pk.to_owned())).key("sk", AttributeValue::S(sk.to_owned()));
        call.send().await.unwrap().item.unwrap()[attribute].clone()
    }

    /// One item, as DynamoDB's own tools show it: each value with its type.
    pub async fn typed(&self, pk: &str, sk: &str) -> Value {
        let call = self.client.get_item().table_name(&self.table).consistent_read(true);
        let call =
            call.key("pk", AttributeValue::S(pk.to_owned())).key("sk", AttributeValue::S(sk.to_owned()));
        let item = call.send().await.unwrap().item.unwrap_or_else(|| panic!("there is no {pk} {sk}"));
        item.iter().map(|(name, value)| (name.clone(), typed(value))).collect()
    }

    /// Sets one attribute of one item, or `map.member`, to what it should not be.
    pub async fn set_raw(&self, pk: &str, sk: &str, attribute: &str, value: AttributeValue) {
        let call = self.client.update_item().table_name(&self.table);
        let call =
            call.key("pk", AttributeValue::S(pk.to_owned())).key("sk", AttributeValue::S(sk.to_owned()));
        let mut names = attribute.split('.');
        let call = match (names.next(), names.next()) {
            (Some(map), Some(member)) => call
                .update_expression("SET #map.#member = :value")
                .expression_attribute_names("#map", map)
                .expression_attribute_names("#member", member),
            _ => call
                .update_expression("SET #attribute = :value")
                .expression_attribute_names("#attribute", attribute),
        };
        call.expression_attribute_values(":value", value).send().await.unwrap();
    }

    /// Deletes an item, as expiry does.
    pub async fn delete(&self, pk: &str, sk: &str) {
        let call = self.client.delete_item().table_name(&self.table);
        let call =
            call.key("pk", AttributeValue::S(pk.to_owned())).key("sk", AttributeValue::S(sk.to_owned()));
        call.send().await.unwrap();
    }

    /// A process of `refund-single-wallet`, with nothing cached yet.
    pub fn instance(&self) -> Instance {
        self.instance_of("refund-single-wallet")
    }

    /// A process of `refund-single-wallet` whose calls to the table go wrong as `faults` says.
    pub fn instance_with(&self, faults: Faults) -> Instance {
        self.instance_of_with("refund-single-wallet", faults)
    }

    /// A process of `auto-batch-refund`, with nothing cached yet.
    pub fn batch_instance(&self) -> Instance {
        self.instance_of("auto-batch-refund")
    }

    /// A process of `auto-batch-refund` whose calls to the table go wrong as `faults` says.
    pub fn batch_instance_with(&self, faults: Faults) -> Instance {
        self.instance_of_with("auto-batch-refund", faults)
    }

    /// A process of the function that `binary` runs, with nothing cached yet.
    pub fn instance_of(&self, binary: &str) -> Instance {
        self.instance_of_with(binary, no_faults())
    }

    /// A process of the function that `binary` runs, whose calls to the table go wrong as `faults` says.
    pub fn instance_of_with(&self, binary: &str, faults: Faults) -> Instance {
        let (store, wire) = self.store_of(binary, faults);
        if let Some(deployed) = &*DEPLOYED {
            return Instance {
                binary: binary.to_owned(),
                function: Arc::new(deployed.function(binary)),
                wire,
            };
        }
        Instance { binary: binary.to_owned(), function: function(binary, &store).unwrap(), wire }
    }

    /// A session of the function that `binary` runs, whose calls to the table go wrong as `faults` says.
    pub fn session_of(&self, binary: &str, faults: Faults) -> (Session, Wire) {
        let (store, wire) = self.store_of(binary, faults);
        (store.session(Deadline::after(Duration::from_secs(20))), wire)
    }

    /// The changes of the table from now on.
    pub async fn stream(&self) -> Stream {
        let settings = aws::local(&self.endpoint);
        let streams = aws_sdk_dynamodbstreams::Client::new(&settings);
        Stream::open(streams, &self.client, &self.table).await.unwrap()
    }

    /// The changes since the last time, as a stream's event; nothing where there are none.
    pub async fn changes(&self, stream: &mut Stream) -> Option<String> {
        let mut records = stream.next().await.unwrap();
        // A stream is read in pages, the last of which is empty.
        loop {
            let more = stream.next().await.unwrap();
            if more.is_empty() {
                break;
            }
            records.extend(more);
        }
        (!records.is_empty()).then(|| json!({ "Records": records }).to_string())
    }

    /// The table as the function that `binary` runs may use it.
    pub fn store_of(&self, binary: &str, faults: Faults) -> (Store, Wire) {
        let http = self.client.config().http_client().expect("the client has an HTTP client");
        let wire = Wire::new(http, faults, Permissions::of(binary));
        let config =
            self.client.config().to_builder().http_client(SharedHttpClient::new(wire.clone())).build();
        (Store::new(Client::from_conf(config), &self.table), wire)
    }

    /// What the ledger is asked when a provider asks for `refunds` of a player of channel 1.
    pub fn request(&self, number: &str, username: &str, refunds: &[(&str, &str)]) -> RefundRequest {
        let account = ChannelId(1).wallet(&username.parse().unwrap());
        let item = |(bet, amount): &(&str, &str)| {
            AskedItem::Asked(AskedRefund {
                debit: DebitKey { account: account.clone(), id: bet.parse().unwrap() },
                round: None,
                amount: amount.parse().unwrap(),
            })
        };
        RefundRequest {
            key: TenantKey::new("ebet", "1").request("test", number),
            part: None,
            fingerprint: FingerprintBuilder::new("test/1").finish(),
            by: RefundedBy::Provider,
            partial_refunds: false,
            currency: "CNY".parse().unwrap(),
            items: refunds.iter().map(item).collect(),
            balance_of: None,
        }
    }
}

fn is_tombstone(item: &Value) -> bool {
    item["state"] == "refund_asked"
}

/// With members in a fixed order, as JSON objects here have them.
fn as_json(value: &AttributeValue) -> Value {
    match value {
        AttributeValue::S(text) => json!(text),
        AttributeValue::N(number) => json!({ "N": number }),
        AttributeValue::B(bytes) => json!({ "B": bytes.as_ref() }),
        AttributeValue::M(members) => {
            members.iter().map(|(name, value)| (name.clone(), as_json(value))).collect()
        }
        AttributeValue::L(values) => values.iter().map(as_json).collect(),
        AttributeValue::Ss(texts) => {
            let mut texts = texts.clone();
            texts.sort();
            json!({ "SS": texts })
        }
        other => json!(format!("{other:?}")),
    }
}

fn typed(value: &AttributeValue) -> Value {
    match value {
        AttributeValue::S(text) => json!({ "S": text }),
        AttributeValue::N(number) => json!({ "N": number }),
        AttributeValue::B(bytes) => json!({ "B": BASE64.encode(bytes) }),
        AttributeValue::M(members) => {
            let members: Value = members.iter().map(|(name, value)| (name.clone(), typed(value))).collect();
            json!({ "M": members })
        }
        other => panic!("{other:?}"),
    }
}

/// Everything goes well.
pub fn no_faults() -> Faults {
    Arc::new(|_| Fault::None)
}

/// One process of a function.
#[derive(Clone)]
pub struct Instance {
    binary: String,
    function: Arc<dyn Function>,
    pub wire: Wire,
}

/// The address that requests come from unless a test says otherwise.
pub const CALLER: &str = "203.0.113.9:4711";

impl Instance {
    /// Answers a body as an HTTP API passes it on; the answer's JSON.
    pub async fn call(&self, body: &Value) -> Value {
        serde_json::from_slice(&self.call_text(body.to_string().as_bytes(), CALLER).await.bytes()).unwrap()
    }

    /// Has entries recorded; the HTTP status, and what is told of each.
    pub async fn record(&self, entries: &[Value]) -> (u16, Vec<Value>) {
        let response = self
            .call_event(&entries_event(json!({ "entries": entries }).to_string().as_bytes()).to_string())
            .await;
        let mut answer: Value = serde_json::from_slice(&response.bytes()).unwrap();
        let told = answer["entries"].as_array_mut().map(std::mem::take);
        (response.status_code, told.unwrap_or_else(|| panic!("{answer}")))
    }

    pub async fn call_text(&self, body: &[u8], caller: &str) -> Response {
        self.call_event(&event(body, caller).to_string()).await
    }

    /// Answers an event as Lambda passes it on.
    pub async fn call_event(&self, event: &str) -> Response {
        self.call_event_within(event, Duration::from_secs(25)).await
    }

    pub async fn call_event_within(&self, event: &str, duration: Duration) -> Response {
        let request_id = format!("test-{:016x}", fastrand::u64(..));
        let invocation = Invocation { request_id, ends: SystemTime::now() + duration };
        let answer = invoke(&*self.function, event, invocation).await;
        documented::check(&self.binary, &answer);
        answer
    }
}

/// The HTTP API event of a posted body.
pub fn event(body: &[u8], caller: &str) -> Value {
    let mut headers = HeaderMap::new();
    headers.insert(header::HOST, HeaderValue::from_static("refunds.example"));
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let caller: SocketAddr = caller.parse().unwrap();
    http_api_event("POST", &Uri::from_static("/refundSingleWallet"), &headers, caller, body)
}

/// The HTTP API event of a call of the operator's own system.
pub fn entries_event(body: &[u8]) -> Value {
    let mut event = event_of("POST", "/entries", &[("content-type", "application/json")], body);
    with_signer(&mut event);
    event
}

/// The HTTP API event of a request with these headers; `uri` is its path, and its query if it has one.
pub fn event_of(method: &str, uri: &str, headers: &[(&'static str, &str)], body: &[u8]) -> Value {
    let mut map = HeaderMap::new();
    map.insert(header::HOST, HeaderValue::from_static("refunds.example"));
    for (name, value) in headers {
        map.append(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    http_api_event(method, &uri.parse().unwrap(), &map, CALLER.parse().unwrap(), body)
}

/// The HTTP API event of a body posted with these headers.
pub fn epay_event(headers: &[(&'static str, &str)], body: &[u8]) -> Value {
    event_of("POST", "/epay", headers, body)
}

/// A signed request of channel 1; `refunds` are bets with the amounts they took.
pub fn single(seq_no: &str, username: &str, refunds: &[(&str, &str)]) -> Value {
    let item = |(bet, amount): &(&str, &str)| {
        let money: Value = serde_json::from_str(&format!("-{amount}")).unwrap();
        json!({"refundSeqNo": bet, "username": username, "refundMoney": money})
    };
    let items: Vec<Value> = refunds.iter().map(item).collect();
    signed(json!({"channelId": 1, "username": username, "seqNo": seq_no, "event": "refundSingleWallet",
                  "timestamp": 1_577_808_000_000u64, "currency": "CNY", "refundList": items}))
}

/// A signed batch of channel 1; `refunds` are players' bets with the amounts they took.
pub fn batch(seq_no: &str, refunds: &[(&str, &str, &str)]) -> Value {
    let item = |(username, bet, amount): &(&str, &str, &str)| {
        let money: Value = serde_json::from_str(amount).unwrap();
        json!({"seqNo": bet, "username": username, "refundMoney": money})
    };
    let items: Vec<Value> = refunds.iter().map(item).collect();
    signed(json!({"channelId": 1, "seqNo": seq_no, "event": "autoBatchRefund",
                  "timestamp": 1_577_808_000_000u64, "currency": "CNY", "batchRefundList": items}))
}

/// `body` with its signature by the demo key: of a batch over channelId + timestamp, else over username +
/// timestamp.
pub fn signed(mut body: Value) -> Value {
    let signer = match body.get("batchRefundList") {
        Some(_) => body["channelId"].to_string(),
        None => body["username"].as_str().unwrap_or_default().to_owned(),
    };
    body["signature"] = json!(sign(DEMO_KEY, &format!("{signer}{}", body["timestamp"])).unwrap());
    body
}
