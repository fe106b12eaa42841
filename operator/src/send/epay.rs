//! EPay's calls: `BeginSingle` and `EndSingle`, in each format they speak.

use std::fmt::Write as _;

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use quick_xml::escape::partial_escape;
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;
use serde_json::{Map, Value};
use shared::ebet::JsonMoney;
use shared::epay::{KEY_HEADER, PARAMETERS_NAMESPACE};
use shared::ledger::exact_decimal;
use shared::limits::DOUBLE_DIGITS_MAX;

use super::Request;

/// The demo merchant's key: known to everybody, good for nothing but the demo data.
pub const DEMO_API_KEY: &str = "demo-key-for-this-machine-only";

const BEGIN_PATH: &str = "/api/WebInterface/YearCard/EPay/Refund/BeginSingle";
const END_PATH: &str = "/api/WebInterface/YearCard/EPay/Refund/EndSingle/Success";

pub const BEGIN_EXAMPLES: &str = "\
Without options it plays the API document's example on the demo data.

Examples:
  refundctl send begin-single-refund
  refundctl send begin-single-refund --format bson
  refundctl send begin-single-refund --format form --accept text/xml
  refundctl send begin-single-refund --autoid 2 --amount 358.50 --batch-no 20261122093000 \\
      --account 6222020200112230000
  refundctl show application demo 1        what became of it

Exit codes: 0 if the answer's errcode is 0; 1 if it is another, or there is no answer; 2 wrong usage.";

pub const END_EXAMPLES: &str = "\
Without options it confirms the example of `refundctl send begin-single-refund`.

Examples:
  refundctl send end-single-refund
  refundctl send end-single-refund --format xml
  refundctl send end-single-refund --batch-no 20261122093000 --amount 358.50 --trade-no 2026112221001004

Exit codes: 0 if the answer's errcode is 0; 1 if it is another, or there is no answer; 2 wrong usage.";

/// What a request is written in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum RequestFormat {
    #[default]
    Json,
    Xml,
    Form,
    Bson,
}

/// What both calls have.
#[derive(Debug, Default, Args)]
pub struct Common {
    /// Where the route is served [default: the local stack]
    #[arg(long, value_name = "URL")]
    pub endpoint: Option<String>,
    /// The merchant's key [default: the demo merchant's]
    #[arg(long, value_name = "KEY", env = "REFUNDS_API_KEY", hide_env_values = true)]
    pub api_key: Option<String>,
    /// What the request is written in
    #[arg(long, value_enum, default_value_t)]
    pub format: RequestFormat,
    /// The answer's media type [default: none is asked for, and the request's own is answered]
    #[arg(long, value_name = "TYPE")]
    pub accept: Option<String>,
}

#[derive(Debug, Default, Args)]
pub struct BeginOptions {
    #[command(flatten)]
    pub common: Common,
    /// The application [default: 1]
    #[arg(long, value_name = "ID")]
    pub autoid: Option<i64>,
    /// What is refunded [default: 2]
    #[arg(long)]
    pub amount: Option<String>,
    /// The refund's batch number [default: sample string 3]
    #[arg(long, value_name = "NO")]
    pub batch_no: Option<String>,
    /// Where the refund goes to [default: sample string 4]
    #[arg(long)]
    pub account: Option<String>,
}

#[derive(Debug, Default, Args)]
pub struct EndOptions {
    #[command(flatten)]
    pub common: Common,
    /// The refund's batch number [default: sample string 3]
    #[arg(long, value_name = "NO")]
    pub batch_no: Option<String>,
    /// The payment provider's number [default: 2016080121001004940200000001]
    #[arg(long, value_name = "NO")]
    pub trade_no: Option<String>,
    /// What was paid back [default: 2]
    #[arg(long)]
    pub amount: Option<String>,
}

/// A member of a request.
enum Member<'a> {
    Integer(i64),
    Amount(Decimal),
    Text(&'a str),
}

impl BeginOptions {
    pub fn request(&self) -> Result<Request> {
        // In the order that XML wants.
        let members = [
            ("autoid", Member::Integer(self.autoid.unwrap_or(1))),
            ("batch_no", Member::Text(self.batch_no.as_deref().unwrap_or("sample string 3"))),
            ("refundaccount", Member::Text(self.account.as_deref().unwrap_or("sample string 4"))),
            ("refundamount", Member::Amount(amount(self.amount.as_deref())?)),
        ];
        self.common.request(BEGIN_PATH, "EPayBeginRefundParm", &members)
    }
}

impl EndOptions {
    pub fn request(&self) -> Result<Request> {
        let trade_no = self.trade_no.as_deref().unwrap_or("2016080121001004940200000001");
        let members = [
            ("batchno", Member::Text(self.batch_no.as_deref().unwrap_or("sample string 3"))),
            ("refundmoney", Member::Amount(amount(self.amount.as_deref())?)),
            ("trandeno", Member::Text(trade_no)),
        ];
        self.common.request(END_PATH, "EPayEndRefundParm", &members)
    }
}

fn amount(text: Option<&str>) -> Result<Decimal> {
    let text = text.unwrap_or("2");
    exact_decimal(text).with_context(|| format!("the amount {text:?}"))
}

impl Common {
    fn request(&self, path: &'static str, root: &str, members: &[(&str, Member<'_>)]) -> Result<Request> {
        let (content_type, body) = match self.format {
            RequestFormat::Json => ("application/json", json(members)?),
            RequestFormat::Xml => ("application/xml", xml(root, members).into_bytes()),
            RequestFormat::Form => ("application/x-www-form-urlencoded", form(members).into_bytes()),
            RequestFormat::Bson => ("application/bson", to_bson(members)?),
        };
        let key = self.api_key.as_deref().unwrap_or(DEMO_API_KEY).to_owned();
        let mut headers = vec![("content-type", content_type.to_owned()), (KEY_HEADER, key)];
        headers.extend(self.accept.clone().map(|accept| ("accept", accept)));
        Ok(Request { method: "POST", path: path.to_owned(), headers, body })
    }
}

impl Member<'_> {
    fn text(&self) -> String {
        match self {
            Self::Integer(number) => number.to_string(),
            Self::Amount(amount) => amount.to_string(),
            Self::Text(text) => (*text).to_owned(),
        }
    }
}

fn json(members: &[(&str, Member<'_>)]) -> Result<Vec<u8>> {
    let mut text = String::from("{");
    for (number, (name, member)) in members.iter().enumerate() {
        let value = match member {
            Member::Integer(number) => number.to_string(),
            Member::Amount(amount) => serde_json::to_string(&JsonMoney(*amount))?,
            Member::Text(text) => serde_json::to_string(text)?,
        };
        let separator = if number == 0 { "" } else { "," };
        write!(text, "{separator}\"{name}\":{value}")?;
    }
    text.push('}');
    Ok(text.into_bytes())
}

fn xml(root: &str, members: &[(&str, Member<'_>)]) -> String {
    let instance = "http://www.w3.org/2001/XMLSchema-instance";
    let element =
        |(name, member): &(&str, Member<'_>)| format!("<{name}>{}</{name}>", partial_escape(member.text()));
    let elements: String = members.iter().map(element).collect();
    format!("<{root} xmlns:i=\"{instance}\" xmlns=\"{PARAMETERS_NAMESPACE}\">{elements}</{root}>")
}

fn form(members: &[(&str, Member<'_>)]) -> String {
    let mut form = form_urlencoded::Serializer::new(String::new());
    for (name, member) in members {
        form.append_pair(name, &member.text());
    }
    form.finish()
}

/// As .NET writes it: a decimal is a double, a whole number of 32 bits an int32.
fn to_bson(members: &[(&str, Member<'_>)]) -> Result<Vec<u8>> {
    let mut document = bson::Document::new();
    for (name, member) in members {
        let value = match member {
            Member::Integer(number) => {
                i32::try_from(*number).map_or(bson::Bson::Int64(*number), bson::Bson::Int32)
            }
            Member::Amount(amount) => {
                let digits = amount.normalize().mantissa().to_string().len();
                let double = amount.to_f64().filter(|_| digits <= DOUBLE_DIGITS_MAX);
                let Some(double) = double else {
                    bail!("{amount} has more digits than a double holds, which .NET sends in BSON")
                };
                bson::Bson::Double(double)
            }
            Member::Text(text) => bson::Bson::String((*text).to_owned()),
        };
        document.insert(*name, value);
    }
    Ok(document.to_vec()?)
}

/// Whether an answer's `errcode` is 0.
pub fn is_done(content_type: &str, body: &[u8]) -> bool {
    let text = String::from_utf8_lossy(body);
    if content_type.starts_with("application/bson") {
        let document = bson::Document::from_reader(body);
        return document.is_ok_and(|document| matches!(document.get_i32("errcode"), Ok(0)));
    }
    if content_type.contains("xml") {
        return text.contains("<errcode>0</errcode>");
    }
    let members: Map<String, Value> = serde_json::from_str(&text).unwrap_or_default();
    members.get("errcode") == Some(&Value::from(0))
}
