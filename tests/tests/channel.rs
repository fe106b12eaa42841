//! What a channel's settings decide, and what a change of them does not.

use aws_sdk_dynamodb::types::AttributeValue;
use refundctl::send::ebet::{DEMO_KEY, sign};
use rsa::RsaPrivateKey;
use rsa::pkcs8::{EncodePrivateKey, EncodePublicKey, LineEnding};
use rsa::rand_core::OsRng;
use serde_json::{Value, json};
use tests::world::{World, channel_line, single};

/// Puts settings on record as they are, also those that an import would refuse.
async fn replace(world: &World, line: &Value) {
    let mut settings = line.clone();
    settings.as_object_mut().unwrap().remove("kind");
    world.put_settings(&settings).await;
}

#[tokio::test]
async fn what_was_refunded_is_answered_so_under_any_later_settings() {
    let world = World::with_channel().await;
    world.wallet_with_debits("p", "0", &[("bet", "9")]).await;
    let body = single("r", "p", &[("bet", "9")]);
    let first = world.instance().call(&body).await;
    assert_eq!(first["status"], 200);
    let with = |member: &str, value: Value| {
        let mut line = channel_line(1);
        line[member] = value;
        line
    };
    for line in [with("refundLimit", json!("8.99")), with("currency", json!("USD"))] {
        replace(&world, &line).await;
        // A process of its own, which has no earlier settings in its cache.
        assert_eq!(world.instance().call(&body).await, first, "{line}");
    }
}

#[tokio::test]
async fn a_wallet_in_another_currency_than_its_channel_is_not_credited() {
    let world = World::with_channel().await;
    world.wallet_with_debits("p", "0", &[("bet", "9")]).await;
    let mut line = channel_line(1);
    line["currency"] = json!("USD");
    replace(&world, &line).await;
    let mut body = single("r", "p", &[("bet", "9")]);
    for currency in [json!("USD"), json!("CNY"), json!(null)] {
        body["currency"] = currency.clone();
        assert_eq!(world.instance().call(&body).await["status"], 5010, "{currency}");
    }
    assert_eq!(world.balance("p").await, "0");
}

#[tokio::test]
async fn each_of_a_channels_keys_signs_and_no_other_does() {
    let world = World::new().await;
    let keys: Vec<RsaPrivateKey> = (0..2).map(|_| RsaPrivateKey::new(&mut OsRng, 512).unwrap()).collect();
    let public = keys.iter().map(|key| key.to_public_key().to_public_key_pem(LineEnding::LF).unwrap());
    let mut line = channel_line(1);
    line["publicKeys"] = public.collect::<Vec<String>>().into();
    world.import(&[line]).await;
    world.wallet_with_debits("p", "0", &[("bet", "9")]).await;
    let private = keys.iter().map(|key| key.to_pkcs8_pem(LineEnding::LF).unwrap().to_string());
    for (pem, status) in private.map(|pem| (pem, 200)).chain([(DEMO_KEY.to_owned(), 4026)]) {
        let mut body = single("r", "p", &[("bet", "9")]);
        body["signature"] = json!(sign(&pem, &format!("p{}", body["timestamp"])).unwrap());
        assert_eq!(world.instance().call(&body).await["status"], status);
    }
}

#[tokio::test]
async fn amounts_are_exact_in_the_json_text_and_in_the_table() {
    let world = World::with_channel().await;
    for (username, balance, amount, sum) in
        [("a", "16.85", "100", "116.85"), ("b", "0.1", "0.2", "0.3"), ("c", "0", "1000", "1000")]
    {
        world.wallet_with_debits(username, balance, &[("bet", amount)]).await;
        let body = single(&format!("r-{username}"), username, &[("bet", amount)]);
        let text = world.instance().call_text(body.to_string().as_bytes(), tests::world::CALLER).await;
        let text = String::from_utf8(text.bytes()).unwrap();
        let wanted = format!("\"moneyBefore\":{balance},\"moneyAfter\":{sum},\"refundMoney\":{amount},");
        assert!(text.contains(&wanted), "{text}");
        let pk = format!("ebet#1#{username}");
        let number = |text: &str| AttributeValue::N(text.to_owned());
        assert_eq!(world.raw(&pk, "ACCOUNT", "balance").await, number(sum));
        let AttributeValue::M(refund) = world.raw(&pk, "PAYMENT#bet", "refund").await else {
            panic!("the debit has its refund")
        };
        assert_eq!((&refund["before"], &refund["after"]), (&number(balance), &number(sum)));
    }
}
