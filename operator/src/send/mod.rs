//! `refundctl send`: a request as a provider would build, sign and post it, with both sides shown.

pub mod batch;
pub mod single;

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use clap::{Args, Subcommand};
use md5::Md5;
use rsa::RsaPrivateKey;
use rsa::pkcs1v15::SigningKey;
use rsa::pkcs8::DecodePrivateKey;
use rsa::signature::{SignatureEncoding, Signer};
use serde_json::Value;
use shared::clock::unix_milliseconds;
use shared::ebet::JsonMoney;
use shared::ledger::exact_decimal;

use crate::target;

/// The demo channel's private key: known to everybody, good for nothing but the demo data.
pub const DEMO_KEY: &str = include_str!("../../demo/private-key.pem");

const ANSWER_WITHIN: Duration = Duration::from_secs(35);

/// Lines of a request or an answer that are shown; of a large batch the rest is counted.
const LINES_SHOWN: usize = 40;

#[derive(Debug, Subcommand)]
pub enum Call {
    /// eBET asks for the refund of failed bets of a player
    #[command(after_help = single::EXAMPLES)]
    RefundSingleWallet(single::Options),
    /// eBET asks for the refund of all failed bets of a period
    #[command(after_help = batch::EXAMPLES)]
    AutoBatchRefund(batch::Options),
}

/// What both calls have.
#[derive(Debug, Default, Args)]
pub struct Common {
    /// Where the route is served [default: the local stack]
    #[arg(long, value_name = "URL")]
    endpoint: Option<String>,
    /// Channel [default: 1, the demo data's]
    #[arg(long, value_name = "ID")]
    channel: Option<u64>,
    /// The channel's private key, PEM [default: the demo channel's]
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// The request's number; the same number is the same request [default: the example's, or a new one]
    #[arg(long, value_name = "SEQNO")]
    seq_no: Option<String>,
    /// Currency [default: CNY]
    #[arg(long, value_name = "CODE")]
    currency: Option<String>,
    /// Unix milliseconds [default: the example's, or now]
    #[arg(long, value_name = "MS")]
    timestamp: Option<u64>,
}

impl Common {
    fn channel(&self) -> u64 {
        self.channel.unwrap_or(1)
    }

    fn currency(&self) -> &str {
        self.currency.as_deref().unwrap_or("CNY")
    }

    /// The request's number: the one asked for, the document's example's, or a new one.
    fn seq_no(&self, example: Option<&str>) -> String {
        let given = self.seq_no.as_deref().or(example).map(str::to_owned);
        given.unwrap_or_else(|| format!("{:032x}", fastrand::u128(..)))
    }

    fn timestamp(&self, example: Option<u64>) -> u64 {
        self.timestamp.or(example).unwrap_or_else(|| unix_milliseconds(SystemTime::now()))
    }

    fn private_key(&self) -> Result<String> {
        match &self.key {
            Some(file) => std::fs::read_to_string(file)
                .with_context(|| format!("could not read the key {}", file.display())),
            None => Ok(DEMO_KEY.to_owned()),
        }
    }
}

pub async fn command(call: &Call) -> Result<ExitCode> {
    let (common, path, body) = match call {
        Call::RefundSingleWallet(options) => (&options.common, single::PATH, single::body(options)?),
        Call::AutoBatchRefund(options) => (&options.common, batch::PATH, batch::body(options)?),
    };
    let endpoint = common.endpoint.clone().unwrap_or_else(target::gateway_url);
    let url = format!("{}{path}", endpoint.trim_end_matches('/'));
    println!("POST {url}\n{}", shown(&body));
    let sent = Instant::now();
    let seq_no = serde_json::from_str::<Value>(&body)?["seqNo"].to_string();
    let (http, answer) = tokio::task::spawn_blocking(move || post(&url, &body)).await??;
    println!("\nHTTP {http}\n{}", shown(&answer));
    let answer = serde_json::from_str::<Value>(&answer).unwrap_or_default();
    if matches!(call, Call::AutoBatchRefund(_)) {
        eprintln!("{} in {:.2} s", batch::summary(&answer), sent.elapsed().as_secs_f64());
    }
    if answer["status"] == 4003 {
        eprintln!("busy: what is undecided is completed by sending the same again, with --seq-no {seq_no}");
    }
    Ok(if answer["status"] == 200 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A bet and its amount, of `SEQNO=AMOUNT`.
fn bet(text: &str) -> Result<(String, JsonMoney)> {
    let (bet, amount) = text.rsplit_once('=').context("write --refund SEQNO=AMOUNT")?;
    let amount = exact_decimal(amount).with_context(|| format!("the amount {amount:?}"))?;
    Ok((bet.to_owned(), JsonMoney(amount)))
}

/// eBET's signature over `message`: RSA PKCS#1 v1.5 with MD5, in base64.
pub fn sign(pem: &str, message: &str) -> Result<String> {
    let key = RsaPrivateKey::from_pkcs8_pem(pem).context("not a private key in PEM (PKCS#8)")?;
    Ok(BASE64.encode(SigningKey::<Md5>::new(key).try_sign(message.as_bytes())?.to_bytes()))
}

fn post(url: &str, body: &str) -> Result<(u16, String)> {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .timeout_global(Some(ANSWER_WITHIN))
        .http_status_as_error(false)
        .build()
        .into();
    let sent = agent.post(url).header("content-type", "application/json").send(body);
    let mut answer =
        sent.with_context(|| format!("no answer from {url}; is `cargo run` (the local stack) running?"))?;
    let status = answer.status().as_u16();
    Ok((status, answer.body_mut().read_to_string()?))
}

/// Indented, with every number as it stands in the text; the first lines of a long one.
fn shown(json: &str) -> String {
    let pretty = jsonformat::format(json, jsonformat::Indentation::TwoSpace);
    let lines: Vec<&str> = pretty.trim_end().lines().collect();
    let mut shown = lines.iter().take(LINES_SHOWN).copied().collect::<Vec<_>>().join("\n");
    if lines.len() > LINES_SHOWN {
        let _ = write!(shown, "\n… and {} more lines", lines.len() - LINES_SHOWN);
    }
    shown
}
