//! `autoBatchRefund`: bets of any number of players.

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use serde::Serialize;
use serde_json::Value;
use shared::ebet::JsonMoney;
use shared::ledger::exact_decimal;

use super::ebet::{Common, bet, sign};
use crate::sample::Sample;

pub const PATH: &str = "/autoBatchRefund";

pub const EXAMPLES: &str = "\
Without options it plays the API document's example on the demo data.

Examples:
  refundctl send auto-batch-refund
  refundctl send auto-batch-refund --username demo --refund a70efc7cf71e03ae98b42b22ad4b4288=100
  refundctl sample --debits 10000 --players 2000 | refundctl import -
  refundctl send auto-batch-refund --items 10000 --players 2000

The last asks for bets of `refundctl sample`, which must have been made with at least as many debits and with
as many players, and with the same --seed.

Exit codes: 0 if the answer's status is 200; 1 if it is another, or there is no answer; 2 wrong usage.";

/// What the signature is over.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Signed {
    /// channelId + timestamp
    #[default]
    Channel,
    /// username + timestamp, of the one player of all items
    Username,
    /// timestamp alone
    Timestamp,
}

#[derive(Debug, Default, Args)]
pub struct Options {
    #[command(flatten)]
    pub common: Common,
    /// Player of the bets named by --refund [default: demo]
    #[arg(long, requires = "refund")]
    username: Option<String>,
    /// Round of these bets [default: none; the debits' rounds are not checked then]
    #[arg(long, value_name = "CODE", requires = "refund")]
    round: Option<String>,
    /// A bet and the amount it took; may be given several times
    #[arg(long, value_name = "SEQNO=AMOUNT", conflicts_with = "items")]
    refund: Vec<String>,
    /// Ask for this many bets of `refundctl sample`
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=100_000))]
    items: Option<u64>,
    /// The sample's players
    #[arg(long, value_name = "M", default_value_t = 100, requires = "items",
          value_parser = clap::value_parser!(u64).range(1..))]
    players: u64,
    /// The sample's seed
    #[arg(long, value_name = "S", default_value_t = 1, requires = "items")]
    seed: u64,
    /// An item above this is not refunded [default: 9999999999]
    #[arg(long, value_name = "AMOUNT")]
    threshold: Option<String>,
    /// What the signature is over
    #[arg(long, value_enum, default_value_t)]
    signed: Signed,
}

/// A request's body, members in the order of the API document.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    channel_id: u64,
    last_start_process_time: u64,
    refund_threshold: JsonMoney,
    session_token: &'a str,
    seq_no: &'a str,
    batch_refund_list: Vec<Item>,
    currency: &'a str,
    event: &'a str,
    timestamp: u64,
    signature: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Item {
    seq_no: String,
    username: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    round_code: Option<String>,
    refund_money: JsonMoney,
    detail: [Detail; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Detail {
    bet_id: String,
    bet_type: u32,
    money: JsonMoney,
}

impl Item {
    fn new(seq_no: String, username: String, round_code: Option<String>, money: JsonMoney) -> Self {
        let detail = [Detail { bet_id: format!("{seq_no}-80"), bet_type: 80, money }];
        Self { seq_no, username, round_code, refund_money: money, detail }
    }
}

/// The signed body that `options` ask for; without a bet among them, the document's example.
pub fn body(options: &Options) -> Result<String> {
    let example = options.refund.is_empty() && options.items.is_none();
    let example_bet = ["d34fbd4e4734d430c05f443da281d92b=20".to_owned()];
    let common = &options.common;
    let items: Vec<Item> = match options.items {
        Some(items) => {
            let sample = Sample { channel: common.channel(), players: options.players, seed: options.seed };
            let bet = |number| sample.bet(number);
            let item = |bet: crate::sample::Bet| {
                let amount = JsonMoney(exact_decimal(&bet.amount)?);
                Ok(Item::new(bet.seq_no, bet.username, Some(bet.round_code), amount))
            };
            (0..items).map(bet).map(item).collect::<Result<_>>()?
        }
        None => {
            let refunds = if example { &example_bet[..] } else { &options.refund[..] };
            let round = options.round.clone().or(example.then(|| "BP1-230511141338".to_owned()));
            let username = options.username.as_deref().unwrap_or("demo");
            let item = |text: &String| {
                let (seq_no, money) = bet(text)?;
                Ok(Item::new(seq_no, username.to_owned(), round.clone(), money))
            };
            refunds.iter().map(item).collect::<Result<_>>()?
        }
    };
    let threshold = options.threshold.as_deref().unwrap_or("9999999999");
    let timestamp = common.timestamp(example.then_some(1_683_786_010_043));
    let signer = match options.signed {
        Signed::Channel => common.channel().to_string(),
        Signed::Username => match &items[..] {
            [first, others @ ..] if others.iter().all(|item| item.username == first.username) => {
                first.username.clone()
            }
            _ => bail!("a signature over a username is for the bets of one player"),
        },
        Signed::Timestamp => String::new(),
    };
    Ok(serde_json::to_string(&Body {
        channel_id: common.channel(),
        last_start_process_time: timestamp.saturating_sub(299_038),
        refund_threshold: JsonMoney(exact_decimal(threshold).context("the threshold")?),
        session_token: "02cfc9f249180b16e93dbbeb8c1c394d",
        seq_no: &common.seq_no(example.then_some("ee41edc558292f232e992cd011fec3f2")),
        batch_refund_list: items,
        currency: common.currency(),
        event: "autoBatchRefund",
        timestamp,
        signature: sign(&common.private_key()?, &format!("{signer}{timestamp}"))?,
    })?)
}

/// What an answer comes to.
pub fn summary(answer: &Value) -> String {
    let groups = answer["refundResultList"].as_array().map_or(&[][..], Vec::as_slice);
    let bets = groups.iter().filter_map(|group| group["sucRefundSeqNoList"].as_array()).map(Vec::len);
    let total = groups.iter().filter_map(|group| exact_decimal(&group["refundTotalMoney"].to_string()).ok());
    format!(
        "status {}: {} bets refunded, of {} rounds, {} in total",
        answer["status"],
        bets.sum::<usize>(),
        groups.len(),
        total.sum::<rust_decimal::Decimal>().normalize(),
    )
}
