//! `refundctl send`: a request as a provider, or the operator's own system, would build and post it, with both sides shown.

pub mod batch;
pub mod ebet;
pub mod entries;
pub mod epay;
pub mod pingpp;
pub mod single;

use std::fmt::Write as _;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Subcommand;
use serde_json::Value;

use crate::target;

const ANSWER_WITHIN: Duration = Duration::from_secs(35);

/// Lines of a request or an answer that are shown; of a large batch the rest is counted.
const LINES_SHOWN: usize = 100;

#[derive(Debug, Subcommand)]
pub enum Call {
    /// eBET asks for the refund of failed bets of a player
    #[command(after_help = single::EXAMPLES)]
    RefundSingleWallet(single::Options),
    /// eBET asks for the refund of all failed bets of a period
    #[command(after_help = batch::EXAMPLES)]
    AutoBatchRefund(batch::Options),
    /// EPay's back office marks an application for a refund as being processed
    #[command(after_help = epay::BEGIN_EXAMPLES)]
    BeginSingleRefund(epay::BeginOptions),
    /// EPay's back office says that a refund was paid
    #[command(after_help = epay::END_EXAMPLES)]
    EndSingleRefund(epay::EndOptions),
    /// A merchant refunds up to 100 charges in one call
    #[command(after_help = pingpp::CREATE_EXAMPLES)]
    CreateBatchRefund(pingpp::CreateOptions),
    /// A merchant looks at a batch of refunds
    #[command(after_help = pingpp::RETRIEVE_EXAMPLES)]
    RetrieveBatchRefund(pingpp::RetrieveOptions),
    /// A merchant looks at an app's batches, the latest first
    #[command(after_help = pingpp::LIST_EXAMPLES)]
    ListBatchRefunds(pingpp::ListOptions),
    /// The operator's own systems say what happens to payments and balances
    #[command(after_help = entries::EXAMPLES)]
    RecordEntries(entries::Options),
}

/// A request, ready to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    pub method: &'static str,
    /// With its query, if it has one.
    pub path: String,
    /// Names in lower case.
    pub headers: Vec<(&'static str, String)>,
    pub body: Vec<u8>,
}

impl Request {
    /// With a JSON body.
    fn json(path: &'static str, body: String) -> Self {
        let headers = vec![("content-type", "application/json".to_owned())];
        Self { method: "POST", path: path.to_owned(), headers, body: body.into_bytes() }
    }
}

/// An answer as it came.
pub struct Answer {
    pub status: u16,
    pub content_type: String,
    pub body: Vec<u8>,
}

impl Call {
    /// The request that is to be sent.
    pub fn request(&self) -> Result<Request> {
        match self {
            Self::RefundSingleWallet(options) => Ok(Request::json(single::PATH, single::body(options)?)),
            Self::AutoBatchRefund(options) => Ok(Request::json(batch::PATH, batch::body(options)?)),
            Self::BeginSingleRefund(options) => options.request(),
            Self::EndSingleRefund(options) => options.request(),
            Self::CreateBatchRefund(options) => options.request(),
            Self::RetrieveBatchRefund(options) => options.request(),
            Self::ListBatchRefunds(options) => options.request(),
            Self::RecordEntries(options) => options.request(),
        }
    }

    fn endpoint(&self) -> Option<&str> {
        let endpoint = match self {
            Self::RefundSingleWallet(options) => &options.common.endpoint,
            Self::AutoBatchRefund(options) => &options.common.endpoint,
            Self::BeginSingleRefund(options) => &options.common.endpoint,
            Self::EndSingleRefund(options) => &options.common.endpoint,
            Self::CreateBatchRefund(options) => &options.common.endpoint,
            Self::RetrieveBatchRefund(options) => &options.common.endpoint,
            Self::ListBatchRefunds(options) => &options.common.endpoint,
            Self::RecordEntries(options) => &options.endpoint,
        };
        endpoint.as_deref()
    }
}

pub async fn command(call: &Call) -> Result<ExitCode> {
    if let Call::RecordEntries(options) = call {
        return entries::command(options).await;
    }
    let request = call.request()?;
    let endpoint = call.endpoint().map_or_else(target::gateway_url, str::to_owned);
    let url = format!("{}{}", endpoint.trim_end_matches('/'), request.path);
    println!("{} {url}", request.method);
    if !request.body.is_empty() {
        let content_type = request.headers.iter().find(|(name, _)| *name == "content-type");
        println!("{}", shown(content_type.map_or("", |(_, value)| value), &request.body));
    }
    let sent = Instant::now();
    let seq_no = serde_json::from_slice::<Value>(&request.body).unwrap_or_default()["seqNo"].to_string();
    let answer = tokio::task::spawn_blocking(move || exchange(&url, &request)).await??;
    println!("\nHTTP {}\n{}", answer.status, shown(&answer.content_type, &answer.body));
    let is_done = match call {
        Call::RefundSingleWallet(_) | Call::AutoBatchRefund(_) => {
            let told: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
            if matches!(call, Call::AutoBatchRefund(_)) {
                eprintln!("{} in {:.2} s", batch::summary(&told), sent.elapsed().as_secs_f64());
            }
            if told["status"] == 4003 {
                eprintln!(
                    "busy: what is undecided is completed by sending the same again, with --seq-no {seq_no}"
                );
            }
            told["status"] == 200
        }
        Call::BeginSingleRefund(_) | Call::EndSingleRefund(_) => {
            epay::is_done(&answer.content_type, &answer.body)
        }
        Call::CreateBatchRefund(_)
        | Call::RetrieveBatchRefund(_)
        | Call::ListBatchRefunds(_)
        | Call::RecordEntries(_) => answer.status == 200,
    };
    Ok(if is_done { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Sends a request, and waits for its answer.
///
/// # Errors
/// If there is none.
pub fn exchange(url: &str, request: &Request) -> Result<Answer> {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .timeout_global(Some(ANSWER_WITHIN))
        .http_status_as_error(false)
        // What is accepted is the caller's own business: anything at all means JSON to some.
        .accept(ureq::config::AutoHeaderValue::None)
        .build()
        .into();
    let headers = request.headers.iter();
    let sent = match request.method {
        "GET" => headers.fold(agent.get(url), |get, (name, value)| get.header(*name, value)).call(),
        _ => {
            let post = headers.fold(agent.post(url), |post, (name, value)| post.header(*name, value));
            post.send(&request.body[..])
        }
    };
    let mut answer =
        sent.with_context(|| format!("no answer from {url}; is `cargo run` (the local stack) running?"))?;
    let content_type = answer.headers().get("content-type").and_then(|value| value.to_str().ok());
    let content_type = content_type.unwrap_or_default().to_owned();
    Ok(Answer { status: answer.status().as_u16(), content_type, body: answer.body_mut().read_to_vec()? })
}

/// As people read it: JSON indented, with every number as it stands in the text; BSON by its members; the first
/// lines of what is long.
fn shown(content_type: &str, body: &[u8]) -> String {
    if content_type.starts_with("application/bson") {
        return match bson::Document::from_reader(body) {
            Ok(document) => format!("{document}    ({} bytes of BSON)", body.len()),
            Err(error) => format!("{} bytes that are no BSON: {error}", body.len()),
        };
    }
    let text = String::from_utf8_lossy(body);
    let text = match content_type.contains("json") {
        true => jsonformat::format(&text, jsonformat::Indentation::TwoSpace),
        false => text.into_owned(),
    };
    let lines: Vec<&str> = text.trim_end().lines().collect();
    let mut shown = lines.iter().take(LINES_SHOWN).copied().collect::<Vec<_>>().join("\n");
    if lines.len() > LINES_SHOWN {
        let _ = write!(shown, "\n… and {} more lines", lines.len() - LINES_SHOWN);
    }
    shown
}
