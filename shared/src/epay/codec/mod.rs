//! Formats of requests and answers: JSON, XML, form and BSON in, JSON, XML and BSON out. Whichever it is, a body
//! is [`Members`] once it is read, and an answer is an [`Answer`] until it is written, so that no operation knows
//! of formats.

mod bson;
mod form;
mod json;
mod negotiate;
mod text;
mod xml;

use crate::edge::Response;
use crate::limits;

use super::Members;
pub use negotiate::{AnswerType, BodyType};
pub use xml::XmlRoot;

/// What a body or an answer is written in; of what is accepted as much, the first is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Json,
    Xml,
    Form,
    Bson,
}

/// Why a body can't be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    #[error("the body is of a type that is not read")]
    UnsupportedType(String),
    #[error("the event is malformed: {0}")]
    Event(#[from] crate::edge::MalformedEvent),
    #[error("the body is empty")]
    Empty,
    #[error("the body is larger than {} bytes", limits::EPAY_BODY_BYTES_MAX)]
    TooLarge,
    #[error("the body is not in the encoding it is said to be in")]
    Encoding,
    #[error("the body is no {0:?}")]
    Malformed(Format),
    #[error("the body has a document type definition")]
    Doctype,
    #[error("the body nests elements deeper than {}", limits::XML_DEPTH_MAX)]
    TooDeep,
    #[error("the body's root element is not this operation's")]
    Root,
}

impl Unreadable {
    /// For a user's eyes.
    pub fn errmsg(&self) -> String {
        match self {
            Self::UnsupportedType(_) => "不支持的内容类型".to_owned(),
            Self::Event(_) => "不是有效的 HTTP 请求".to_owned(),
            Self::Empty => "内容为空".to_owned(),
            Self::TooLarge => format!("内容超过 {} 字节", limits::EPAY_BODY_BYTES_MAX),
            Self::Encoding => "字符编码不正确".to_owned(),
            Self::Malformed(format) => format!("不是有效的 {}", format.name()),
            Self::Doctype => "不允许 DOCTYPE".to_owned(),
            Self::TooDeep => format!("元素嵌套超过 {} 层", limits::XML_DEPTH_MAX),
            Self::Root => "根元素或命名空间不正确".to_owned(),
        }
    }
}

impl Format {
    fn name(self) -> &'static str {
        match self {
            Self::Json => "JSON",
            Self::Xml => "XML",
            Self::Form => "表单",
            Self::Bson => "BSON",
        }
    }
}

/// Reads a body, by what its Content-Type says of it.
///
/// # Errors
/// Says why it can't be read. An empty body is empty whatever its type.
pub fn read(content_type: Option<&str>, body: &[u8], root: &XmlRoot) -> Result<Members, Unreadable> {
    if body.is_empty() {
        return Err(Unreadable::Empty);
    }
    let said = content_type.unwrap_or("application/octet-stream");
    let body_type = BodyType::of(said).ok_or_else(|| {
        let name = said.split(';').next().unwrap_or_default().trim();
        Unreadable::UnsupportedType(name.chars().take(limits::TEXT_CHARS_MAX).collect())
    })?;
    if body.len() > limits::EPAY_BODY_BYTES_MAX {
        return Err(Unreadable::TooLarge);
    }
    match body_type.format {
        Format::Bson => bson::read(body),
        Format::Form => {
            let is_foreign = negotiate::charset(said).is_some_and(|charset| text::is_foreign(&charset));
            form::read(&text::decode(body, said)?, is_foreign)
        }
        Format::Json => json::read(&text::decode(body, said)?),
        Format::Xml => xml::read(&text::decode(body, said)?, root),
    }
}

/// An answer: its members in order, and what XML calls it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer<'a> {
    pub root: XmlRoot,
    pub members: Vec<(&'static str, Field<'a>)>,
}

/// A member of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field<'a> {
    Null,
    Integer(i32),
    Text(&'a str),
}

impl<'a> From<Option<&'a str>> for Field<'a> {
    fn from(text: Option<&'a str>) -> Self {
        text.map_or(Self::Null, Self::Text)
    }
}

/// Writes an answer as `answer_type`.
pub fn write(http_status: u16, answer_type: AnswerType, answer: &Answer<'_>) -> Response {
    let header = answer_type.header();
    match answer_type.format() {
        Format::Xml => Response::text(http_status, header, xml::write(answer)),
        Format::Bson => Response::binary(http_status, header, &bson::write(answer)),
        Format::Json | Format::Form => Response::text(http_status, header, json::write(answer)),
    }
}
