//! `POST /entries`: what the operator's own systems say, from lines.

use std::fs::File;
use std::io::{Read, stdin};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail};
use aws_sdk_dynamodb::config::ProvideCredentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use aws_smithy_runtime_api::client::identity::Identity;
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;
use shared::aws;
use shared::clock;
use shared::entries::Entry;
use shared::limits::ENTRIES_PER_CALL_MAX;

use super::{Answer, Request, exchange, shown};
use crate::show::plain;
use crate::target::{self, is_loopback};

pub const PATH: &str = "/entries";

pub const EXAMPLES: &str = "\
One JSON object a line (folded here), recorded in this order, 25 lines a call. Of a player's wallet; amounts are strings:
  {\"kind\":\"wallet\",\"channelId\":1,\"username\":\"player1\",\"balance\":\"0\"}
  {\"kind\":\"credit\",\"channelId\":1,\"username\":\"player1\",\"id\":\"deposit-1\",
                \"amount\":\"100\",\"reason\":\"deposit\"}
  {\"kind\":\"withdrawal\",\"channelId\":1,\"username\":\"player1\",\"id\":\"cash-out-1\",
                \"amount\":\"5\",\"reason\":\"cash out\"}
  {\"kind\":\"debit\",\"channelId\":1,\"username\":\"player1\",\"seqNo\":\"bet-1\",
                \"roundCode\":\"B1-1\",\"amount\":\"10.50\",\"live\":true}
       a bet takes its stake; without \"live\" it is one of the past, and takes nothing:
       optional \"state\":\"open\"|\"settled\"
  {\"kind\":\"settle\",\"channelId\":1,\"username\":\"player1\",\"seqNo\":\"bet-1\"}
       the bet was played: no refund any more
Of charges and an app's funds; amounts are whole numbers of the currency's smallest unit:
  {\"kind\":\"charge\",\"app\":\"app_abcdefghweqzadfs\",\"livemode\":false,\"id\":\"ch_1\",
                \"amount\":1000,\"currency\":\"cny\",\"channel\":\"wx_pub\",
                \"orderNo\":\"123456789\",\"created\":1409634160,\"paid\":false}
       optional: \"paid\":true (so it is where nothing is said), and of a paid one \"timePaid\",
       \"transactionNo\", \"amountRefunded\"; sent again as paid, it is paid from then on
  {\"kind\":\"funds\",\"app\":\"app_abcdefghweqzadfs\",\"livemode\":false,
                \"source\":\"unsettled_funds\",\"id\":\"ch_1\",\"amount\":1000,
                \"reason\":\"charge paid\"}
       or \"recharge_funds\"; an amount below zero where money leaves
Of applications for refunds:
  {\"kind\":\"application\",\"merchant\":\"demo\",\"autoid\":3,\"amount\":\"2.00\",
                \"orderNo\":\"YC20160801003\"}
  {\"kind\":\"withdraw\",\"merchant\":\"demo\",\"autoid\":3}      optional: \"reason\"
  {\"kind\":\"fail\",\"merchant\":\"demo\",\"autoid\":1,\"batchNo\":\"sample string 3\"}
       the payment provider refused the refund under way; optional: \"reason\"

Without a file it plays a bet's life on the demo data. What is on record stays as it is: sending
again is safe, and finishes what was cut off. Requests to AWS, or to its emulator that
AWS_ENDPOINT_URL names, are signed by your AWS settings.

Examples:
  refundctl send record-entries
  refundctl send record-entries today.jsonl
  tail -n 100 today.jsonl | refundctl send record-entries -
  refundctl send record-entries today.jsonl \\
      --endpoint https://abc123.execute-api.eu-west-1.amazonaws.com

Exit codes: 0 every entry is on record; 1 some are refused or undecided, or there is no answer;
2 wrong usage.";

/// A bet's life: money comes in, a bet takes some, and is played. (What it wins follows in a call of its own, once it is
/// settled: a refused entry holds up none of the others.)
const EXAMPLE: &str = r#"{"kind":"credit","channelId":1,"username":"demo","id":"deposit-20261122-1","amount":"100","reason":"deposit"}
{"kind":"debit","channelId":1,"username":"demo","seqNo":"live-bet-1","roundCode":"BP1-261122093000","amount":"10.50","live":true}
{"kind":"settle","channelId":1,"username":"demo","seqNo":"live-bet-1"}
"#;

/// Wrong lines that are shown; the others are counted.
const WRONG_LINES_SHOWN: usize = 20;

/// How often a call is sent again whose entries are undecided.
const ATTEMPTS_MAX: usize = 5;

#[derive(Debug, Default, Args)]
pub struct Options {
    /// File of JSON lines; - for standard input [default: an example on the demo data]
    file: Option<PathBuf>,
    /// Where the route is served [default: the local stack]
    #[arg(long, value_name = "URL")]
    pub endpoint: Option<String>,
}

/// One call's lines, each with its number.
type Lines = Vec<(usize, Box<RawValue>)>;

impl Options {
    /// The calls that are to be made, in this order.
    fn calls(&self) -> Result<Vec<Lines>> {
        let text = match &self.file {
            None => EXAMPLE.to_owned(),
            Some(path) if path.as_os_str() == "-" => read(stdin().lock()).context("standard input")?,
            Some(path) => File::open(path)
                .map_err(anyhow::Error::from)
                .and_then(read)
                .with_context(|| format!("could not read {}", path.display()))?,
        };
        let mut wrong = Vec::new();
        let mut lines = Vec::new();
        for (number, line) in (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty()) {
            match (Entry::read(line), RawValue::from_string(line.to_owned())) {
                (Ok(_), Ok(entry)) => lines.push((number, entry)),
                (Err(invalid), _) => wrong.push(format!("  line {number}: {}", plain(&invalid.to_string()))),
                (_, Err(error)) => wrong.push(format!("  line {number}: {error}")),
            }
        }
        if !wrong.is_empty() {
            let more = wrong.len().saturating_sub(WRONG_LINES_SHOWN);
            wrong.truncate(WRONG_LINES_SHOWN);
            wrong.extend((more > 0).then(|| format!("  and {more} more lines")));
            bail!("nothing was sent:\n{}", wrong.join("\n"));
        }
        if lines.is_empty() {
            bail!("there is no entry to send");
        }
        let mut calls = Vec::new();
        while !lines.is_empty() {
            let rest = lines.split_off(lines.len().min(ENTRIES_PER_CALL_MAX));
            calls.push(std::mem::replace(&mut lines, rest));
        }
        Ok(calls)
    }

    /// The first call, which is the only one of the example.
    pub fn request(&self) -> Result<Request> {
        request(self.calls()?.first().context("there is no entry to send")?)
    }
}

fn read(mut reader: impl Read) -> Result<String> {
    let mut text = String::new();
    reader.read_to_string(&mut text)?;
    Ok(text)
}

fn request(lines: &Lines) -> Result<Request> {
    let entries = lines.iter().map(|(_, entry)| &**entry).collect();
    Ok(Request::json(PATH, serde_json::to_string(&Body { entries })?))
}

/// With each entry as it is written.
#[derive(Serialize)]
struct Body<'a> {
    entries: Vec<&'a RawValue>,
}

/// What became of all lines.
#[derive(Default)]
struct Report {
    recorded: usize,
    unchanged: usize,
    refused: usize,
    undecided: usize,
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { recorded, unchanged, refused, undecided } = self;
        write!(f, "{recorded} recorded, {unchanged} unchanged, {refused} refused, {undecided} undecided")
    }
}

/// Where the calls go to: below an endpoint, or an endpoint that names the route, as the stack's outputs do.
fn url(endpoint: Option<&str>) -> Result<String> {
    let Some(endpoint) = endpoint else { return Ok(format!("{}{PATH}", target::gateway_url())) };
    let base = endpoint.trim_end_matches('/').trim_end_matches(PATH);
    let is_local = base.starts_with("http://") && is_loopback(base);
    if !is_local && !base.starts_with("https://") {
        bail!("the endpoint {endpoint:?} is neither https://... nor http://... on this machine");
    }
    Ok(format!("{base}{PATH}"))
}

pub async fn command(options: &Options) -> Result<ExitCode> {
    let calls = options.calls()?;
    let url = url(options.endpoint.as_deref())?;
    println!("POST {url}");
    let mut report = Report::default();
    let progress = match calls.len() {
        0 | 1 => ProgressBar::hidden(),
        count => ProgressBar::new(count as u64).with_style(ProgressStyle::with_template(
            "{wide_bar} {human_pos}/{human_len} calls, {eta} left",
        )?),
    };
    for lines in &calls {
        let request = request(lines)?;
        if calls.len() == 1 {
            println!("{}", shown("application/json", &request.body));
        }
        let first = lines.first().map_or(0, |(number, _)| *number);
        let unfinished =
            || format!("{report}; those from line {first} on are not known: send them all again to finish");
        let answer = send(&url, &request).await.with_context(unfinished)?;
        if calls.len() == 1 || !matches!(answer.status, 200 | 503) {
            println!("\nHTTP {}\n{}", answer.status, shown(&answer.content_type, &answer.body));
        }
        let told: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        let Some(entries) = told["entries"].as_array().filter(|entries| entries.len() == lines.len()) else {
            progress.abandon();
            bail!("{}", unfinished());
        };
        for ((number, _), entry) in lines.iter().zip(entries) {
            let text = |name: &str| entry[name].as_str().unwrap_or_default();
            let outcome = text("outcome");
            match outcome {
                "recorded" => report.recorded += 1,
                "unchanged" => report.unchanged += 1,
                "refused" => report.refused += 1,
                _ => report.undecided += 1,
            }
            if !text("message").is_empty() {
                let why = plain(&[text("reason"), text("message")].join(" "));
                progress.suspend(|| println!("line {number}: {outcome}: {}", why.trim()));
            }
        }
        progress.inc(1);
    }
    progress.finish_and_clear();
    eprintln!("{report}");
    Ok(if report.refused + report.undecided == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Sends a call, and again while entries of it are undecided.
async fn send(url: &str, request: &Request) -> Result<Answer> {
    let mut attempt = 1;
    loop {
        let mut request = request.clone();
        if !is_loopback(url) || is_emulator() {
            sign_request(url, &mut request).await?;
        }
        let to = url.to_owned();
        let answer = tokio::task::spawn_blocking(move || exchange(&to, &request)).await??;
        if !matches!(answer.status, 429 | 500 | 502 | 503 | 504) || attempt == ATTEMPTS_MAX {
            return Ok(answer);
        }
        eprintln!("HTTP {}: busy; the call is sent again", answer.status);
        tokio::time::sleep(Duration::from_millis(200) * 2u32.pow(attempt as u32)).await;
        attempt += 1;
    }
}

/// Whether AWS is emulated on this machine: an emulator's gateway checks signatures as AWS's does.
fn is_emulator() -> bool {
    std::env::var_os("AWS_ENDPOINT_URL").is_some()
}

/// Signs a request to AWS, as its API Gateway demands of this route.
///
/// # Errors
/// If there are no AWS credentials, or no region.
pub async fn sign_request(url: &str, request: &mut Request) -> Result<()> {
    let settings = aws::settings(None).await;
    let provider = settings.credentials_provider().context("there are no AWS credentials")?;
    let credentials = provider.provide_credentials().await.context("there are no AWS credentials")?;
    let of_settings = || settings.region().map(ToString::to_string);
    let region = region_of(url).or_else(of_settings).context("set AWS_REGION to the API's region")?;
    sign_as(&credentials.into(), &region, clock::now(), url, request)
}

/// Adds the headers of AWS Signature Version 4.
fn sign_as(
    identity: &Identity,
    region: &str,
    at: SystemTime,
    url: &str,
    request: &mut Request,
) -> Result<()> {
    let parameters = v4::SigningParams::builder()
        .identity(identity)
        .region(region)
        .name("execute-api")
        .time(at)
        .settings(SigningSettings::default())
        .build()?
        .into();
    let headers = request.headers.iter().map(|(name, value)| (*name, value.as_str()));
    let signable = SignableRequest::new(request.method, url, headers, SignableBody::Bytes(&request.body))?;
    let (instructions, _signature) = sign(signable, &parameters)?.into_parts();
    let (headers, _query) = instructions.into_parts();
    request.headers.extend(headers.iter().map(|header| (header.name(), header.value().to_owned())));
    Ok(())
}

/// The region that an API's own name tells.
fn region_of(url: &str) -> Option<String> {
    let host = url.parse::<axum::http::Uri>().ok()?.host()?.to_owned();
    let (_api, rest) = host.split_once(".execute-api.")?;
    rest.split('.').next().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use aws_sdk_dynamodb::config::Credentials;

    use super::*;

    #[test]
    fn an_apis_region_stands_in_its_name() {
        for (url, region) in [
            ("https://abc123.execute-api.eu-west-1.amazonaws.com/entries", Some("eu-west-1")),
            ("https://refunds.example.com/entries", None),
        ] {
            assert_eq!(region_of(url).as_deref(), region);
        }
    }

    /// The signature is what botocore makes of the same request.
    #[test]
    fn requests_are_signed_as_aws_checks_them() {
        let credentials = Credentials::new(
            "AKIDEXAMPLE",
            "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
            Some("a-session".to_owned()),
            None,
            "test",
        );
        let mut request = Request::json(PATH, r#"{"entries":[]}"#.to_owned());
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_305_600);
        let url = "https://abc123.execute-api.eu-west-1.amazonaws.com/entries";
        sign_as(&credentials.into(), "eu-west-1", at, url, &mut request).unwrap();
        let header = |wanted: &str| {
            let (_, value) = request.headers.iter().find(|(name, _)| *name == wanted).unwrap();
            value.as_str()
        };
        assert_eq!(header("x-amz-date"), "20261122T000000Z");
        assert_eq!(header("x-amz-security-token"), "a-session");
        assert_eq!(
            header("authorization"),
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20261122/eu-west-1/execute-api/aws4_request, SignedHeaders=content-type;host;x-amz-date;x-amz-security-token, Signature=ec1528621c4fef330aadeb60f9cea95ca9c3d6c4c43c13641352ab4a6e8828d7"
        );
    }

    #[test]
    fn an_endpoint_is_this_machines_or_secure_and_may_name_the_route() {
        for (endpoint, to) in [
            ("http://127.0.0.1:1", Some("http://127.0.0.1:1/entries")),
            ("http://localhost:8787/", Some("http://localhost:8787/entries")),
            ("https://refunds.example/entries", Some("https://refunds.example/entries")),
            ("http://refunds.example", None),
            ("refunds.example", None),
            ("ftp://127.0.0.1", None),
            ("", None),
        ] {
            assert_eq!(url(Some(endpoint)).ok().as_deref(), to, "{endpoint}");
        }
    }

    #[test]
    fn the_example_is_one_call_of_entries_that_can_be_read() {
        assert_eq!(Options::default().calls().unwrap().iter().map(Vec::len).collect::<Vec<_>>(), [3]);
    }
}
