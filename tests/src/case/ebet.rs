//! Cases of eBET's calls: every answer is JSON.

use std::collections::{BTreeMap, BTreeSet};
use std::time::SystemTime;

use anyhow::{Context, Result};
use refundctl::send::ebet::{DEMO_KEY, sign};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use shared::clock::unix_milliseconds;
use shared::ledger::DebitState;

use crate::world::{CALLER, World, entries_event, event, public_key};

pub type File = super::File<Step, After>;
type Case = super::Case<Step, After>;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// The function, where it isn't the folder's.
    #[serde(default)]
    function: Option<String>,
    request: Box<RawValue>,
    /// The caller's address, where it matters.
    #[serde(default)]
    from: Option<String>,
    #[serde(default = "ok")]
    status: u16,
    answer: Box<RawValue>,
}

fn ok() -> u16 {
    200
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct After {
    /// Nothing in the table is other than before, but for tombstones.
    #[serde(default)]
    unchanged: bool,
    /// The tombstones: debits that are not there, and whose refund was asked for, as `player/seqNo`, or
    /// `channel/player/seqNo`; applications, as `merchant#autoid`.
    #[serde(default)]
    asked: BTreeSet<String>,
    /// Balances by player; `2/p` is player p of channel 2.
    #[serde(default)]
    wallets: BTreeMap<String, String>,
    /// `open`, `settled`, or `refunded AMOUNT by provider|channel`, by `player/seqNo`, or
    /// `channel/player/seqNo`.
    #[serde(default)]
    debits: BTreeMap<String, String>,
}

impl File {
    /// Plays a case of `function` in a fresh world.
    ///
    /// # Errors
    /// Says what is other than the case says.
    pub async fn play(&self, function: &str, case: &Case) -> Result<()> {
        let world = World::new().await;
        let mut lines = Vec::new();
        let mut self_refunds = Vec::new();
        for line in self.before(case) {
            match line["kind"].as_str() {
                Some("self-refund") => self_refunds.push(line),
                _ => lines.push(with_public_key(line)),
            }
        }
        world.import(&lines).await;
        for line in self_refunds {
            let text = |name: &str| line[name].as_str().unwrap().to_owned();
            let channel = line["channelId"].as_u64().unwrap();
            world.self_refund(channel, &text("username"), &text("seqNo")).await;
        }
        let before = world.dump().await;

        let (single, batch, entries) = (world.instance(), world.batch_instance(), world.entries_instance());
        for (number, step) in (1..).zip(&case.steps) {
            let body = request_body(&step.request)?;
            let caller = step.from.as_deref().unwrap_or(CALLER);
            let (instance, event) = match step.function.as_deref().unwrap_or(function) {
                "refund-single-wallet" => (&single, event(body.as_bytes(), caller)),
                "auto-batch-refund" => (&batch, event(body.as_bytes(), caller)),
                "record-entries" => (&entries, entries_event(body.as_bytes())),
                other => anyhow::bail!("step {number}: there is no function {other}"),
            };
            let answer = instance.call_event(&event.to_string()).await;
            anyhow::ensure!(answer.status_code == step.status, "step {number}: HTTP {}", answer.status_code);
            let answer = String::from_utf8(answer.bytes())?;
            let got = indented(&answer);
            let wanted = with_present_time(&indented(step.answer.get()), &answer);
            anyhow::ensure!(got == wanted, "step {number}: answered\n{got}\ninstead of\n{wanted}");
        }

        if case.after.unchanged {
            anyhow::ensure!(world.dump().await == before, "something changed in the table");
        }
        world.ensure_whole().await?;
        let asked: BTreeSet<String> = world.tombstones().await.into_iter().collect();
        let wanted = case.after.asked.iter().map(|name| {
            if let Some((merchant, autoid)) = name.split_once('#') {
                return Ok(format!("epay#{merchant}#{autoid} PAYMENT"));
            }
            let (channel, name) = of_channel(name, 2)?;
            let (username, id) = name.split_once('/').context("debits are named player/seqNo")?;
            Ok(format!("ebet#{channel}#{username} PAYMENT#{id}"))
        });
        let wanted = wanted.collect::<Result<BTreeSet<String>>>()?;
        anyhow::ensure!(asked == wanted, "tombstones of {asked:?} instead of {wanted:?}");
        for line in lines.iter().filter(|line| line["kind"] == "wallet") {
            let channel = line["channelId"].as_u64().context("a wallet has a channel")?;
            world.wallet_of(channel, line["username"].as_str().context("and a name")?).await;
        }
        for (name, balance) in &case.after.wallets {
            let (channel, username) = of_channel(name, 1)?;
            let found = world.wallet_of(channel, username).await.account.balance.to_string();
            anyhow::ensure!(&found == balance, "wallet {name} holds {found} instead of {balance}");
        }
        for (name, wanted) in &case.after.debits {
            let (channel, name) = of_channel(name, 2)?;
            let (username, id) = name.split_once('/').context("debits are named player/seqNo")?;
            let wallet = world.wallet_of(channel, username).await;
            let debit = wallet.debits.iter().find(|debit| debit.key.id.as_str() == id);
            let found = describe(&debit.with_context(|| format!("no debit {name}"))?.state);
            anyhow::ensure!(&found == wanted, "debit {name} is {found} instead of {wanted}");
        }
        Ok(())
    }
}

/// A name's channel, 1 unless it has one part more than `parts`, and the rest of it.
fn of_channel(name: &str, parts: usize) -> Result<(u64, &str)> {
    match name.split_once('/') {
        Some((channel, rest)) if name.split('/').count() > parts => Ok((channel.parse()?, rest)),
        _ => Ok((1, name)),
    }
}

fn describe(state: &DebitState) -> String {
    match state {
        DebitState::Open => "open".to_owned(),
        DebitState::Settled => "settled".to_owned(),
        DebitState::Refunded(refund) => format!("refunded {} by {}", refund.amount, refund.by.as_str()),
    }
}

/// A channel without keys gets the one that `"signature": "valid"` is made with.
fn with_public_key(mut line: Value) -> Value {
    if line["kind"] == "channel" && line.get("publicKeys").is_none() {
        line["publicKeys"] = serde_json::json!([public_key()]);
    }
    line
}

/// The body to post: the request's own text, or a text that is no JSON. For a signature, `valid` is replaced
/// by the one that the call's caller would make, and `over TEXT` by one over this text.
fn request_body(request: &RawValue) -> Result<String> {
    let text = request.get();
    if let Ok(body) = serde_json::from_str::<String>(text) {
        return Ok(body);
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Signed<'a> {
        username: Option<Value>,
        #[serde(borrow)]
        channel_id: Option<&'a RawValue>,
        #[serde(borrow)]
        timestamp: Option<&'a RawValue>,
        batch_refund_list: Option<serde::de::IgnoredAny>,
        signature: Option<Value>,
    }
    let members: Signed<'_> = serde_json::from_str(text)?;
    let Some(Value::String(placeholder)) = &members.signature else { return Ok(text.to_owned()) };
    let signed = match placeholder.strip_prefix("over ") {
        Some(signed) => signed.to_owned(),
        None if placeholder == "valid" => {
            let username = members.username.as_ref().and_then(Value::as_str).unwrap_or_default();
            let channel = members.channel_id.map_or("", RawValue::get);
            let signer = if members.batch_refund_list.is_some() { channel } else { username };
            format!("{signer}{}", members.timestamp.map_or("", RawValue::get))
        }
        None => return Ok(text.to_owned()),
    };
    let written = format!("\"signature\": {}", Value::from(placeholder.as_str()));
    anyhow::ensure!(text.contains(&written), "write the signature as {written}");
    Ok(text.replace(&written, &format!("\"signature\": \"{}\"", sign(DEMO_KEY, &signed)?)))
}

/// The answer's own time in the place of `now`, if it is a moment ago.
fn with_present_time(wanted: &str, answer: &str) -> String {
    let told = serde_json::from_str::<Value>(answer).ok().and_then(|answer| answer["timestamp"].as_u64());
    match told {
        Some(told) if unix_milliseconds(SystemTime::now()).abs_diff(told) < 60_000 => {
            wanted.replace("\"timestamp\": \"now\"", &format!("\"timestamp\": {told}"))
        }
        _ => wanted.to_owned(),
    }
}

/// Indented the same way, with every digit as it stands.
fn indented(json: &str) -> String {
    jsonformat::format(json, jsonformat::Indentation::TwoSpace)
}
