//! What eBET's calls have in common: who sends them, and the signature.

use std::path::PathBuf;

use anyhow::{Context, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use clap::Args;
use md5::Md5;
use rsa::RsaPrivateKey;
use rsa::pkcs1v15::SigningKey;
use rsa::pkcs8::DecodePrivateKey;
use rsa::signature::{SignatureEncoding, Signer};
use shared::clock;
use shared::ebet::JsonMoney;
use shared::ledger::exact_decimal;

/// The demo channel's private key: known to everybody, good for nothing but the demo data.
pub const DEMO_KEY: &str = include_str!("../../demo/private-key.pem");

/// What both calls have.
#[derive(Debug, Default, Args)]
pub struct Common {
    /// Where the route is served [default: the local stack]
    #[arg(long, value_name = "URL")]
    pub endpoint: Option<String>,
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
    pub fn channel(&self) -> u64 {
        self.channel.unwrap_or(1)
    }

    pub fn currency(&self) -> &str {
        self.currency.as_deref().unwrap_or("CNY")
    }

    /// The request's number: the one asked for, the document's example's, or a new one.
    pub fn seq_no(&self, example: Option<&str>) -> String {
        let given = self.seq_no.as_deref().or(example).map(str::to_owned);
        given.unwrap_or_else(|| format!("{:032x}", fastrand::u128(..)))
    }

    pub fn timestamp(&self, example: Option<u64>) -> u64 {
        self.timestamp.or(example).unwrap_or_else(clock::unix_now)
    }

    pub fn private_key(&self) -> Result<String> {
        match &self.key {
            Some(file) => std::fs::read_to_string(file)
                .with_context(|| format!("could not read the key {}", file.display())),
            None => Ok(DEMO_KEY.to_owned()),
        }
    }
}

/// A bet and its amount, of `SEQNO=AMOUNT`.
pub fn bet(text: &str) -> Result<(String, JsonMoney)> {
    let (bet, amount) = text.rsplit_once('=').context("write --refund SEQNO=AMOUNT")?;
    let amount = exact_decimal(amount).with_context(|| format!("the amount {amount:?}"))?;
    Ok((bet.to_owned(), JsonMoney(amount)))
}

/// eBET's signature over `message`: RSA PKCS#1 v1.5 with MD5, in base64.
pub fn sign(pem: &str, message: &str) -> Result<String> {
    let key = RsaPrivateKey::from_pkcs8_pem(pem).context("not a private key in PEM (PKCS#8)")?;
    Ok(BASE64.encode(SigningKey::<Md5>::new(key).try_sign(message.as_bytes())?.to_bytes()))
}
