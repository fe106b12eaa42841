//! The guide for systems in any language says what is so: its entries are recorded as it says, its items stand in the
//! table as it shows them, and by its own rules, written down here once more, their hashes are right.

use std::collections::BTreeMap;
use std::path::PathBuf;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tests::world::{World, single};

/// The guide's blocks of JSON below a heading.
fn blocks(heading: &str) -> Vec<Value> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/entries.md");
    let text = std::fs::read_to_string(path).unwrap();
    let section =
        text.split(&format!("\n## {heading}\n")).nth(1).unwrap_or_else(|| panic!("no section {heading}"));
    let section = section.split("\n## ").next().unwrap();
    let blocks = section.split("```json\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    blocks
        .map(|block| serde_json::from_str(block).unwrap_or_else(|error| panic!("{error}: {block}")))
        .collect()
}

/// A value of an item: text, the digits of a number, or bytes.
fn field(item: &Value, name: &str) -> Vec<u8> {
    let value = &item[name];
    let text = value["S"].as_str().or(value["N"].as_str()).map(|text| text.as_bytes().to_vec());
    text.unwrap_or_else(|| {
        BASE64.decode(value["B"].as_str().unwrap_or_else(|| panic!("{name}: {item}"))).unwrap()
    })
}

/// SHA-256 over fields, each after its length in 8 bytes, as docs/ledger.md says.
fn hash(fields: &[&[u8]]) -> Vec<u8> {
    let mut digest = Sha256::new();
    for field in fields {
        digest.update((field.len() as u64).to_be_bytes());
        digest.update(field);
    }
    digest.finalize().to_vec()
}

/// Checks the chain of an account's items by the guide's words alone.
fn check(items: &BTreeMap<String, Value>) {
    let account = &items["ACCOUNT"];
    let (pk, currency) = (field(account, "pk"), field(account, "currency"));
    let mut head = hash(&[b"opening/1", &pk, &currency, &field(account, "opening")]);
    let mut postings: BTreeMap<u64, (Vec<u8>, Value)> = BTreeMap::new();
    let mut post = |posting: &Value, layout: &str, facts: [Vec<u8>; 3]| {
        let [one, two, three] = &facts;
        let part = |name| field(posting, name);
        let computed = hash(&[
            layout.as_bytes(),
            &pk,
            &currency,
            &part("sequence"),
            one,
            two,
            three,
            &part("at"),
            &part("before"),
            &part("after"),
            &part("previous"),
        ]);
        let sequence = String::from_utf8(part("sequence")).unwrap().parse().unwrap();
        assert!(postings.insert(sequence, (computed, posting.clone())).is_none());
    };
    for (sk, item) in items {
        if let Some(id) = sk.strip_prefix("MOVEMENT#") {
            let layout = format!("{}/1", String::from_utf8(field(item, "direction")).unwrap());
            post(item, &layout, [id.into(), field(item, "amount"), field(item, "reason")]);
        }
        if let (Some(id), Some(taken)) = (sk.strip_prefix("PAYMENT#"), item["taken"].get("M")) {
            post(taken, "debit/1", [id.into(), field(item, "roundCode"), field(item, "amount")]);
        }
    }
    for (expected, (sequence, (computed, posting))) in (1..).zip(&postings) {
        assert_eq!((*sequence, field(posting, "previous")), (expected, head), "{posting}");
        assert_eq!(&field(posting, "hash"), computed, "{posting}");
        head = computed.clone();
    }
    assert_eq!(field(account, "head"), head);
    assert_eq!(field(account, "sequence"), postings.len().to_string().into_bytes());
}

/// What differs each time: times, and what follows from them.
fn without_times(mut item: Value) -> Value {
    let of = |item: &mut Value| {
        for name in ["at", "askedAt", "previous", "hash", "head", "expires"] {
            let Some(value) = item.get_mut(name).and_then(Value::as_object_mut) else { continue };
            value.values_mut().for_each(|value| *value = json!("…"));
        }
    };
    of(&mut item);
    if let Some(taken) = item.get_mut("taken") {
        of(&mut taken["M"]);
    }
    item
}

#[tokio::test]
async fn the_guides_call_is_answered_as_it_says_and_leaves_the_items_that_it_shows() {
    let world = World::with_channel().await;
    let call = blocks("The call");
    let [body, answer] = &call[..] else { panic!("a body and its answer: {call:?}") };
    let (status, told) = world.entries_instance().record(body["entries"].as_array().unwrap()).await;
    assert_eq!((status, &told), (200, answer["entries"].as_array().unwrap()));
    // A refund of a bet that has not come.
    world.instance().call(&single("r", "player1", &[("bet-2", "10")])).await;

    let shown = blocks("Items");
    let mut in_table = BTreeMap::new();
    let mut in_guide = BTreeMap::new();
    for item in shown {
        let (pk, sk) = (item["pk"]["S"].as_str().unwrap(), item["sk"]["S"].as_str().unwrap());
        let there = world.typed(pk, sk).await;
        assert_eq!(without_times(there.clone()), without_times(item.clone()), "{pk} {sk}");
        in_table.insert(sk.to_owned(), there);
        in_guide.insert(sk.to_owned(), item);
    }
    let all = world.items().await;
    let of_wallet = all.iter().filter(|item| item["pk"] == "ebet#1#player1");
    assert_eq!(in_guide.len(), of_wallet.count(), "the guide shows all of the wallet's items");
    check(&in_table);
    check(&in_guide);
}
