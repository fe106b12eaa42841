//! EPay's calls, in their formats.

use bson::raw::{CString, RawDocumentBuf};
use bson::{Decimal128, RawArrayBuf, RawBson};
use refundctl::send::epay::DEMO_API_KEY;
use shared::epay::codec::{self, Answer, AnswerType, BodyType, Field, Format, XmlRoot};
use shared::epay::{Members, PARAMETERS_NAMESPACE, Value};
use shared::limits;

use super::entries;
use super::gateway::{Gateway, Sent};
use super::grammar::{Grammar, Input, NUMBERS, quoted};
use super::sandbox::{self, Sandbox};
use super::taken;

const BEGIN: &str = "begin-single-refund";
const END: &str = "end-single-refund";

/// Of a request; `EndSingle`'s may have any name.
const ROOT: XmlRoot = XmlRoot { name: Some("EPayBeginRefundParm"), namespace: Some(PARAMETERS_NAMESPACE) };

/// Of an answer.
const RESULT: XmlRoot = XmlRoot {
    name: Some("CommonOperationResult"),
    namespace: Some("http://schemas.datacontract.org/2004/07/DigitalScience.DataTransfer"),
};

const ANSWERS: [AnswerType; 5] = [
    AnswerType::ApplicationJson,
    AnswerType::TextJson,
    AnswerType::ApplicationXml,
    AnswerType::TextXml,
    AnswerType::ApplicationBson,
];

const ACCEPTS: &[&str] = &[
    "",
    "*/*",
    "application/xml",
    "text/xml;q=0.5, application/bson",
    "application/*;q=0.1",
    "image/png",
    ";;\"",
];

/// The members of both calls, each with how long it may be as a text.
const MEMBERS: &[(&str, usize)] = &[
    ("autoid", 0),
    ("refundamount", 0),
    ("batch_no", limits::BATCH_NO_CHARS_MAX),
    ("refundaccount", limits::REFUND_ACCOUNT_CHARS_MAX),
    ("batchno", limits::CONFIRMED_BATCH_NO_CHARS_MAX),
    ("trandeno", limits::TRADE_NO_CHARS_MAX),
    ("refundmoney", 0),
];

pub fn begin_single_refund(input: &[u8]) {
    handler(BEGIN, input);
}

pub fn end_single_refund(input: &[u8]) {
    handler(END, input);
}

/// A body behind its type, or some calls one after another.
fn handler(binary: &'static str, input: &[u8]) {
    sandbox::with(input, |sandbox| match Input::of(input) {
        Input::Text(text) => {
            let (content_type, accept, body) = lines(text);
            let headers = [("content-type", content_type), ("accept", accept)];
            call(sandbox, binary, &headers, body.to_vec(), Gateway::HttpApi);
        }
        Input::Grammar(mut grammar) => {
            for _ in 0..grammar.count(4) {
                match *grammar.pick(&[binary, binary, BEGIN, END, entries::RECORD]) {
                    entries::RECORD => entries::say_of_applications(sandbox, &mut grammar),
                    binary => {
                        let pairs = pairs(&mut grammar, binary == BEGIN);
                        let (format, content_type) = *grammar.pick(TYPES);
                        let body = encoded(format, &pairs, grammar.is_one_in(16)).unwrap_or_default();
                        let body =
                            if grammar.is_one_in(6) { torn(&mut grammar, format, &body) } else { body };
                        let accept = (*grammar.pick(ACCEPTS)).to_owned();
                        let headers = [("content-type", content_type.to_owned()), ("accept", accept)];
                        let gateway = Gateway::any(&mut grammar);
                        call(sandbox, binary, &headers, body, gateway);
                    }
                }
            }
        }
    });
}

/// What a body's type and what is accepted are, and the body: a digit stands for a type that is known, before any other
/// body stand two lines.
fn lines(text: &[u8]) -> (String, String, &[u8]) {
    if let [digit @ b'0'..=b'9', body @ ..] = text
        && let Some((_, content_type)) = TYPES.get(usize::from(digit - b'0'))
    {
        return ((*content_type).to_owned(), String::new(), body);
    }
    let mut parts = text.splitn(3, |byte| *byte == b'\n');
    let mut line = || parts.next().unwrap_or_default();
    let (first, second, rest) = (line(), line(), line());
    let lossy = |line: &[u8]| String::from_utf8_lossy(line).into_owned();
    (lossy(first), lossy(second), rest)
}

/// A body that is not as it was written: something is missing or new in it.
fn torn(grammar: &mut Grammar<'_>, format: Format, body: &[u8]) -> Vec<u8> {
    const IN_XML: &[&str] = &[
        "<![CDATA[2.00]]>",
        "<!-- a comment -->",
        "<?xml version='1.0' encoding='utf-16'?>",
        "<!DOCTYPE a [<!ENTITY b \"c\">]>",
        "&b;",
        "&#0;",
        "&#x10ffff;",
        "<autoid xmlns='other'>1</autoid>",
        "<a:autoid xmlns:a='other'>1</a:autoid>",
        "</",
        "]]>",
        "\u{feff}",
    ];
    if format != Format::Xml || grammar.is_one_in(3) {
        return grammar.changed(body);
    }
    let text = String::from_utf8_lossy(body);
    let marks: Vec<usize> =
        text.match_indices(['<', '>']).map(|(place, _)| place).chain([text.len()]).collect();
    let place = *grammar.pick(&marks);
    let (before, after) = text.split_at(place);
    format!("{before}{}{after}", grammar.pick(IN_XML)).into_bytes()
}

/// Calls twice, and checks what is told and done.
fn call(
    sandbox: &mut Sandbox,
    binary: &str,
    headers: &[(&'static str, String)],
    body: Vec<u8>,
    gateway: Gateway,
) {
    let mut headers = headers.to_vec();
    headers.push(("x-api-key", DEMO_API_KEY.to_owned()));
    let sent = Sent { path: "/epay".to_owned(), headers, body, gateway, ..Sent::default() };
    let (event, secrets) = (sent.event(), sent.kept([DEMO_API_KEY]));
    let called = sandbox.call(binary, &event, &secrets);
    let (status, content_type, body) =
        (called.response.status_code, called.response.content_type(), called.response.bytes());
    let errcode = errcode(status, content_type, &body);
    // Confirmations are kept also where they complete nothing.
    let may_write = errcode == Some(0) || (binary == END && matches!(errcode, Some(300..=303)));
    assert!(called.writes.is_empty() || may_write, "told {errcode:?}, but wrote {:?}", called.writes);
    if !called.is_worth_repeating {
        return;
    }
    let again = sandbox.call(binary, &event, &secrets);
    assert!(again.writes.is_empty(), "sent again, it wrote {:?}", again.writes);
    assert_eq!(again.response, called.response, "sent again, it is told otherwise");
}

/// An answer's `errcode`, after checking that it is one; none of an answer that no type could be read of.
fn errcode(status: u16, content_type: &str, body: &[u8]) -> Option<i64> {
    let known = [200, 400, 401, 415].contains(&status)
        && ANSWERS.into_iter().any(|answer| answer.header() == content_type);
    assert!(known, "HTTP {status} as {content_type}");
    if status == 415 {
        let root = XmlRoot { name: Some("Error"), namespace: None };
        codec::read(Some(content_type), body, &root).expect("an answer can be read");
        return None;
    }
    let told = codec::read(Some(content_type), body, &RESULT).expect("an answer can be read");
    let errcode = told.integer("errcode").expect("an answer has a code");
    let known = [0, 401, 402].contains(&errcode)
        || (100..=113).contains(&errcode)
        || (200..=206).contains(&errcode)
        || (300..=303).contains(&errcode);
    assert!(known && (errcode == 0 || told.name::<String>("errmsg", 1_000).is_ok()), "{errcode}");
    assert_eq!(status == 400, errcode == 100);
    assert_eq!(status == 401, errcode == 401 || errcode == 402);
    Some(errcode)
}

const TYPES: &[(Format, &str)] = &[
    (Format::Json, "application/json"),
    (Format::Xml, "text/xml; charset=utf-8"),
    (Format::Form, "application/x-www-form-urlencoded"),
    (Format::Bson, "application/bson"),
    (Format::Json, "text/json; charset=gbk"),
    (Format::Xml, "application/xml"),
    (Format::Json, "text/plain"),
];

type Pairs = Vec<(&'static str, Value)>;

/// The members of a call, mostly in order.
fn pairs(grammar: &mut Grammar<'_>, is_begin: bool) -> Pairs {
    let number = |text: &&str| Value::Number((*text).to_owned());
    let text = |text: &&str| Value::Text((*text).to_owned());
    let mut pairs = Vec::new();
    let names = if is_begin { &MEMBERS[..4] } else { &MEMBERS[4..] };
    for (name, _) in names {
        let value = match *name {
            _ if grammar.is_one_in(48) => continue,
            _ if grammar.is_one_in(32) => Value::Null,
            _ if grammar.is_one_in(48) => Value::Other,
            _ if grammar.is_one_in(32) => number(grammar.pick(NUMBERS)),
            _ if grammar.is_one_in(32) => Value::Text(grammar.text()),
            "autoid" => number(grammar.pick(&["1", "2", "1", "3", "1.0", "1e0"])),
            "refundamount" | "refundmoney" => match grammar.is_one_in(2) {
                true => text(grammar.pick(&["2.00", "358.50", " 2 ", "0.01"])),
                false => number(grammar.pick(&["2", "2.00", "1.50", "358.50", "358.51", "0", "2.001"])),
            },
            "refundaccount" => text(grammar.pick(&["account", "another", "退款账号"])),
            "trandeno" => text(grammar.pick(&["T1", "T2", "a#b"])),
            _ => text(grammar.pick(&["b1", "b2", "b1", "a#b", "a%23b"])),
        };
        pairs.push((*name, value));
        if grammar.is_one_in(96) {
            pairs.push((*name, Value::Text("twice".to_owned())));
        }
    }
    pairs
}

/// A body, by other code than that which reads it; none where the format has no such value.
fn encoded(format: Format, pairs: &Pairs, in_capitals: bool) -> Option<Vec<u8>> {
    // Elsewhere than in XML names match in both cases.
    let name =
        |name: &str| if in_capitals && format != Format::Xml { name.to_uppercase() } else { name.to_owned() };
    match format {
        Format::Json => {
            let member = |(own, value): &(&str, Value)| {
                let value = match value {
                    Value::Null => "null".to_owned(),
                    Value::Text(text) => quoted(text),
                    Value::Number(number) => number.clone(),
                    Value::Other => "[1]".to_owned(),
                };
                format!("\"{}\":{value}", name(own))
            };
            let members: Vec<String> = pairs.iter().map(member).collect();
            Some(format!("{{{}}}", members.join(",")).into_bytes())
        }
        Format::Xml => {
            let mut body = format!("<EPayBeginRefundParm xmlns=\"{PARAMETERS_NAMESPACE}\">");
            for (name, value) in pairs {
                match value {
                    Value::Null => {
                        let instance = "http://www.w3.org/2001/XMLSchema-instance";
                        body += &format!("<{name} xmlns:i='{instance}' i:nil='true'/>");
                    }
                    Value::Text(text) | Value::Number(text) => {
                        body += &format!("<{name}>{}</{name}>", in_xml(text)?)
                    }
                    Value::Other => body += &format!("<{name}><deep>1</deep></{name}>"),
                }
            }
            Some((body + "</EPayBeginRefundParm>").into_bytes())
        }
        Format::Form => {
            let mut body = form_urlencoded::Serializer::new(String::new());
            for (own, value) in pairs {
                match value {
                    Value::Null => body.append_pair(&name(own), ""),
                    Value::Text(text) | Value::Number(text) => body.append_pair(&name(own), text),
                    Value::Other => return None,
                };
            }
            Some(body.finish().into_bytes())
        }
        Format::Bson => {
            let mut body = RawDocumentBuf::new();
            for (own, value) in pairs {
                let name = CString::try_from(name(own)).ok()?;
                let value = match value {
                    Value::Null => RawBson::Null,
                    Value::Text(text) => RawBson::String(text.clone()),
                    Value::Number(number) => {
                        let (value, text) = match (number.parse::<i32>(), number.parse::<i64>()) {
                            (Ok(number), _) => (RawBson::Int32(number), number.to_string()),
                            (_, Ok(number)) => (RawBson::Int64(number), number.to_string()),
                            _ => {
                                let decimal = number.parse::<Decimal128>().ok()?;
                                (RawBson::Decimal128(decimal), decimal.to_string())
                            }
                        };
                        // It has a number and no text: only some are written in one way alone.
                        if text != *number {
                            return None;
                        }
                        value
                    }
                    Value::Other => RawBson::Array(RawArrayBuf::new()),
                };
                body.append(&*name, value);
            }
            Some(body.into_bytes())
        }
    }
}

/// A text as XML has it, if it has a place for its characters.
fn in_xml(text: &str) -> Option<String> {
    let is_writable =
        |c: char| matches!(c, '\t' | '\n' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..);
    let escaped = |c: char| match c {
        '<' => "&lt;".to_owned(),
        '&' => "&#x26;".to_owned(),
        '>' => "&gt;".to_owned(),
        other => other.to_string(),
    };
    text.chars().all(is_writable).then(|| text.chars().map(escaped).collect())
}

/// Bodies and answers of all formats: what is written is read, the same in each; what is read is within its limits.
pub fn codecs(input: &[u8]) {
    match Input::of(input) {
        Input::Text(text) => {
            let (content_type, accept, body) = lines(text);
            let own = BodyType::of(&content_type);
            let chosen = AnswerType::choose(Some(&accept), own);
            assert!(own.is_none() || ANSWERS.contains(&chosen));
            for root in [ROOT, XmlRoot { name: None, ..ROOT }, RESULT] {
                if let Ok(members) = codec::read(Some(&content_type), body, &root) {
                    taken();
                    assert!(own.is_some() && body.len() <= limits::EPAY_BODY_BYTES_MAX);
                    read(&members);
                }
            }
            written(&String::from_utf8_lossy(body), chosen);
        }
        Input::Grammar(mut grammar) => {
            let is_begin = !grammar.is_one_in(2);
            let pairs = pairs(&mut grammar, is_begin);
            let (format, content_type) = *grammar.pick(TYPES);
            if let Some(body) = encoded(format, &pairs, false) {
                let body = torn(&mut grammar, format, &body);
                if let Ok(members) = codec::read(Some(content_type), &body, &ROOT) {
                    read(&members);
                }
            }
            let of_format = |(format, content_type): &(Format, &str)| {
                let body = encoded(*format, &pairs, false)?;
                let members = codec::read(Some(content_type), &body, &ROOT);
                Some((*format, members.map(|members| read(&members)).map_err(|error| error.to_string())))
            };
            // A form without fields is no body.
            if pairs.is_empty() {
                return;
            }
            let mut all = TYPES[..4].iter().filter_map(of_format);
            let Some((first, wanted)) = all.next() else { return };
            // A number that is none makes JSON malformed, and nothing else.
            let Ok(wanted) = wanted else { return };
            taken();
            for (format, read) in all {
                assert_eq!(read.as_ref(), Ok(&wanted), "{format:?} instead of {first:?}: {pairs:?}");
            }
        }
    }
}

/// What each member is read as.
fn read(members: &Members) -> Vec<String> {
    let of = |(name, chars_max): &(&'static str, usize)| match name {
        &"autoid" => format!("{:?}", members.integer(name)),
        name if *chars_max == 0 => {
            let amount = members.amount(name);
            if let Ok(amount) = &amount {
                assert_eq!(amount.to_string().parse(), Ok(*amount));
            }
            format!("{amount:?}")
        }
        name => {
            let text = members.name::<shared::ledger::BatchNo>(name, *chars_max);
            if let Ok(text) = &text {
                let text = text.as_str();
                assert!(!text.trim().is_empty() && text.chars().count() <= *chars_max, "{text:?}");
                assert!(!text.chars().any(|c| c.is_control() || c == '\u{fffd}'), "{text:?}");
            }
            format!("{text:?}")
        }
    };
    MEMBERS.iter().map(of).collect()
}

/// An answer with any text is read back as it was written.
fn written(text: &str, answer_type: AnswerType) {
    let members = vec![("errcode", Field::Integer(7)), ("errmsg", Field::Text(text)), ("tag", Field::Null)];
    let answer = Answer { root: RESULT, members };
    let response = codec::write(200, answer_type, &answer);
    let bytes = response.bytes();
    if bytes.len() > limits::EPAY_BODY_BYTES_MAX {
        return;
    }
    let told = codec::read(Some(response.content_type()), &bytes, &RESULT).expect("what is written is read");
    let is_xml = answer_type.format() == Format::Xml;
    let mut wanted = if is_xml { Members::with_exact_names() } else { Members::default() };
    wanted.add("errcode", if is_xml { Value::Text("7".to_owned()) } else { Value::Number("7".to_owned()) });
    // XML has no place for some characters.
    let is_writable = |c: char| matches!(c, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..);
    let in_xml = || text.chars().map(|c| if is_writable(c) { c } else { '\u{fffd}' }).collect::<String>();
    wanted.add("errmsg", Value::Text(if is_xml { in_xml() } else { text.to_owned() }));
    wanted.add("tag", Value::Null);
    assert_eq!(told, wanted, "as {answer_type:?}");
}
