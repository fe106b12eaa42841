//! Ping++'s calls: a merchant creates, retrieves and lists batches of refunds.

use std::path::PathBuf;
use std::time::UNIX_EPOCH;

use anyhow::{Context, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use clap::Args;
use rsa::RsaPrivateKey;
use rsa::pkcs1::DecodeRsaPrivateKey;
use rsa::pkcs1v15::SigningKey;
use rsa::pkcs8::DecodePrivateKey;
use rsa::signature::{SignatureEncoding, Signer};
use serde::Serialize;
use serde_json::json;
use sha2::Sha256;
use shared::clock;
use shared::ledger::FundingSource;

use super::Request;

/// The demo app and its key, as the API document's examples have them: known to everybody, good for nothing but the
/// demo data.
pub const DEMO_APP: &str = "app_abcdefghweqzadfs";
const DEMO_SECRET: &str = "sk_test_ibbTe5jLGCi5rzfH4OqPW9KC";

const PATH: &str = "/v1/batch_refunds";
const DEMO_BATCH_NO: &str = "batchrefund20160801001";
const DEMO_DESCRIPTION: &str = "Batch refund description.";
const DEMO_CHARGES: [&str; 2] = ["ch_L8qn10mLmr1GS8e5OODmHaL4", "ch_fdOmHaLmLmr1GOD4qn1dS8e5"];
const DEMO_BATCH: &str = "151608161453545122";

pub const CREATE_EXAMPLES: &str = "\
Without options it plays the API document's example on the demo data: 10 of each of two charges.

Examples:
  refundctl send create-batch-refund
  refundctl send create-batch-refund --batch-no refunds20261122 --charge ch_L8qn10mLmr1GS8e5OODmHaL4=5
  refundctl send create-batch-refund --batch-no pending1 --charge ch_Pq8S4K5yPi1G0mHeX1qDemo0
                                           an Alipay charge, whose refund someone must confirm
  refundctl send create-batch-refund --app app_1Gqj58ynP0mHeX1q --secret sk_live_… --private-key app.pem \\
      --batch-no 20261122001 --charge ch_1 --charge ch_2=250 --funding-source recharge_funds
  refundctl show batch batchrefund20160801001    what became of it

Exit codes: 0 if the answer is HTTP 200; 1 if it is another, or there is no answer; 2 wrong usage.";

pub const RETRIEVE_EXAMPLES: &str = "\
Examples:
  refundctl send retrieve-batch-refund 152611221530450042

Exit codes: 0 if the answer is HTTP 200; 1 if it is another, or there is no answer; 2 wrong usage.";

pub const LIST_EXAMPLES: &str = "\
Examples:
  refundctl send list-batch-refunds
  refundctl send list-batch-refunds --per-page 2 --page 2

Exit codes: 0 if the answer is HTTP 200; 1 if it is another, or there is no answer; 2 wrong usage.";

/// What all calls have.
#[derive(Debug, Default, Args)]
pub struct Common {
    /// Where the route is served [default: the local stack]
    #[arg(long, value_name = "URL")]
    pub endpoint: Option<String>,
    /// The secret key, sk_test_… or sk_live_… [default: the demo app's]
    #[arg(long, value_name = "KEY", env = "REFUNDS_SECRET_KEY", hide_env_values = true)]
    secret: Option<String>,
    /// Sign with this private key, PEM [default: no signature]
    #[arg(long, value_name = "FILE")]
    private_key: Option<PathBuf>,
}

#[derive(Debug, Default, Args)]
pub struct CreateOptions {
    #[command(flatten)]
    pub common: Common,
    /// The app [default: the demo app]
    #[arg(long)]
    app: Option<String>,
    /// The merchant's number of the batch; the same number is the same batch [default: the example's]
    #[arg(long, value_name = "NO")]
    batch_no: Option<String>,
    /// A charge, and how much of it in the currency's smallest unit; all of it where that is not said; may be given
    /// several times [default: the example's two]
    #[arg(long, value_name = "ID[=AMOUNT]", value_parser = charge)]
    charge: Vec<(String, Option<u64>)>,
    /// The batch's description [default: the example's]
    #[arg(long)]
    description: Option<String>,
    /// Which funds pay for the charges, unsettled_funds or recharge_funds [default: nothing is said]
    #[arg(long, value_name = "SOURCE")]
    funding_source: Option<FundingSource>,
}

#[derive(Debug, Default, Args)]
pub struct RetrieveOptions {
    #[command(flatten)]
    pub common: Common,
    /// The batch's id [default: the document's example, which nobody has]
    id: Option<String>,
}

#[derive(Debug, Default, Args)]
pub struct ListOptions {
    #[command(flatten)]
    pub common: Common,
    /// The app [default: the demo app]
    #[arg(long)]
    app: Option<String>,
    /// The page, counted from 1
    #[arg(long, value_name = "N")]
    page: Option<usize>,
    /// Batches of a page, at most 100
    #[arg(long, value_name = "N")]
    per_page: Option<usize>,
}

/// A request's body, members in the order of the API document.
#[derive(Serialize)]
struct Body<'a> {
    app: &'a str,
    batch_no: &'a str,
    description: &'a str,
    charges: Vec<ChargeBody<'a>>,
}

#[derive(Serialize)]
struct ChargeBody<'a> {
    charge: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    amount: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    funding_source: Option<&'static str>,
}

impl CreateOptions {
    pub fn request(&self) -> Result<Request> {
        let funding_source = self.funding_source.map(FundingSource::as_str);
        let mut charges = Vec::new();
        for (charge, amount) in &self.charge {
            charges.push(ChargeBody { charge, amount: *amount, description: None, funding_source });
        }
        if charges.is_empty() {
            let description = Some(DEMO_DESCRIPTION);
            charges.extend(DEMO_CHARGES.map(|charge| ChargeBody {
                charge,
                amount: Some(10),
                description,
                funding_source,
            }));
        }
        let body = Body {
            app: self.app.as_deref().unwrap_or(DEMO_APP),
            batch_no: self.batch_no.as_deref().unwrap_or(DEMO_BATCH_NO),
            description: self.description.as_deref().unwrap_or(DEMO_DESCRIPTION),
            charges,
        };
        self.common.request("POST", PATH.to_owned(), json!(body).to_string().into_bytes())
    }
}

impl RetrieveOptions {
    pub fn request(&self) -> Result<Request> {
        let path = format!("{PATH}/{}", escaped(self.id.as_deref().unwrap_or(DEMO_BATCH)));
        self.common.request("GET", path, Vec::new())
    }
}

impl ListOptions {
    pub fn request(&self) -> Result<Request> {
        let mut path = format!("{PATH}?app={}", escaped(self.app.as_deref().unwrap_or(DEMO_APP)));
        for (name, value) in [("page", self.page), ("per_page", self.per_page)] {
            path.extend(value.map(|value| format!("&{name}={value}")));
        }
        self.common.request("GET", path, Vec::new())
    }
}

/// A charge, and how much of it.
fn charge(text: &str) -> Result<(String, Option<u64>), String> {
    let Some((charge, amount)) = text.split_once('=') else { return Ok((text.to_owned(), None)) };
    let amount =
        amount.parse().map_err(|_| "the amount is no whole number of the smallest unit".to_owned())?;
    Ok((charge.to_owned(), Some(amount)))
}

fn escaped(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

impl Common {
    fn request(&self, method: &'static str, path: String, body: Vec<u8>) -> Result<Request> {
        let secret = self.secret.as_deref().unwrap_or(DEMO_SECRET);
        let mut headers = vec![("authorization", format!("Basic {}", BASE64.encode(format!("{secret}:"))))];
        if method == "POST" {
            headers.push(("content-type", "application/json".to_owned()));
        }
        if let Some(file) = &self.private_key {
            let pem = std::fs::read_to_string(file)
                .with_context(|| format!("could not read the key {}", file.display()))?;
            let timestamp = clock::now().duration_since(UNIX_EPOCH)?.as_secs().to_string();
            let signed = [&body[..], path.as_bytes(), timestamp.as_bytes()].concat();
            headers.push(("pingplusplus-signature", sign(&pem, &signed)?));
            headers.push(("pingplusplus-request-timestamp", timestamp));
        }
        Ok(Request { method, path, headers, body })
    }
}

/// Ping++'s signature over `message`: RSA PKCS#1 v1.5 with SHA-256, in base64.
fn sign(pem: &str, message: &[u8]) -> Result<String> {
    let key = RsaPrivateKey::from_pkcs8_pem(pem).ok().or_else(|| RsaPrivateKey::from_pkcs1_pem(pem).ok());
    let key = key.context("not a private key in PEM (PKCS#8 or PKCS#1)")?;
    Ok(BASE64.encode(SigningKey::<Sha256>::new(key).try_sign(message)?.to_bytes()))
}
