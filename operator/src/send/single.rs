//! `refundSingleWallet`: one player's bets.

use anyhow::{Result, bail};
use clap::Args;
use serde::Serialize;
use shared::ebet::JsonMoney;

use super::ebet::{Common, bet, sign};

pub const PATH: &str = "/refundSingleWallet";

pub const EXAMPLES: &str = "\
Without options it plays the API document's example on the demo data.

Examples:
  refundctl send refund-single-wallet
  refundctl send refund-single-wallet --username demo --round BP1-230511075749 \\
      --refund a70efc7cf71e03ae98b42b22ad4b4288=100
  refundctl send refund-single-wallet --channel 7 --key channel-7.private.pem \\
      --username player1 --refund bet-1=10.50 --refund bet-2=3

Exit codes: 0 if the answer's status is 200; 1 if it is another, or there is no answer; 2 wrong usage.";

#[derive(Debug, Default, Args)]
pub struct Options {
    #[command(flatten)]
    pub common: Common,
    /// Player [default: apitest01]
    #[arg(long)]
    username: Option<String>,
    /// Round of the bets [default: none; the debits' rounds are not checked then]
    #[arg(long, value_name = "CODE")]
    round: Option<String>,
    /// A bet and the amount it took; may be given several times
    #[arg(long, value_name = "SEQNO=AMOUNT")]
    refund: Vec<String>,
}

/// A request's body, members in the order of the API document.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    channel_id: u64,
    username: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    round_code: Option<&'a str>,
    seq_no: &'a str,
    event: &'a str,
    timestamp: u64,
    session_token: &'a str,
    currency: &'a str,
    signature: String,
    refund_list: Vec<Item<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Item<'a> {
    refund_seq_no: String,
    username: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    round_code: Option<&'a str>,
    refund_money: JsonMoney,
}

/// The signed body that `options` ask for; without a player or a bet among them, the document's example.
pub fn body(options: &Options) -> Result<String> {
    let example = options.username.is_none() && options.refund.is_empty();
    let example_bet = ["seqNoBetseqNoRefund=1000".to_owned()];
    let refunds = if example { &example_bet[..] } else { &options.refund[..] };
    if refunds.is_empty() {
        bail!("name at least one bet to refund: --refund SEQNO=AMOUNT");
    }
    let common = &options.common;
    let username = options.username.as_deref().unwrap_or("apitest01");
    let round_code = options.round.as_deref().or(example.then_some("B1-200101012345"));
    let timestamp = common.timestamp(example.then_some(1_577_808_000_000));
    let item = |text: &String| {
        let (refund_seq_no, JsonMoney(amount)) = bet(text)?;
        Ok(Item { refund_seq_no, username, round_code, refund_money: JsonMoney(-amount) })
    };
    Ok(serde_json::to_string(&Body {
        channel_id: common.channel(),
        username,
        round_code,
        seq_no: &common.seq_no(example.then_some("seqNoseqNoseqNoseqNo")),
        event: "refundSingleWallet",
        timestamp,
        session_token: "sessionToken",
        currency: common.currency(),
        signature: sign(&common.private_key()?, &format!("{username}{timestamp}"))?,
        refund_list: refunds.iter().map(item).collect::<Result<_>>()?,
    })?)
}
