//! Which type a body is of, and which one its answer is to be of.

use std::cmp::Reverse;

use mediatype::{MediaType, MediaTypeList, Name, ReadParams};

use super::Format;

/// A type that a body may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BodyType {
    pub format: Format,
    /// What it is answered as where the caller accepts nothing better.
    pub answer: AnswerType,
}

/// A type that an answer may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnswerType {
    ApplicationJson,
    TextJson,
    ApplicationXml,
    TextXml,
    ApplicationBson,
}

impl AnswerType {
    /// The first of these is taken where several are as good.
    pub const ALL: [Self; 5] =
        [Self::ApplicationJson, Self::TextJson, Self::ApplicationXml, Self::TextXml, Self::ApplicationBson];

    pub fn format(self) -> Format {
        match self {
            Self::ApplicationJson | Self::TextJson => Format::Json,
            Self::ApplicationXml | Self::TextXml => Format::Xml,
            Self::ApplicationBson => Format::Bson,
        }
    }

    fn name(self) -> (&'static str, &'static str) {
        match self {
            Self::ApplicationJson => ("application", "json"),
            Self::TextJson => ("text", "json"),
            Self::ApplicationXml => ("application", "xml"),
            Self::TextXml => ("text", "xml"),
            Self::ApplicationBson => ("application", "bson"),
        }
    }

    /// As it stands in the answer's Content-Type.
    pub fn header(self) -> &'static str {
        match self {
            Self::ApplicationJson => "application/json; charset=utf-8",
            Self::TextJson => "text/json; charset=utf-8",
            Self::ApplicationXml => "application/xml; charset=utf-8",
            Self::TextXml => "text/xml; charset=utf-8",
            Self::ApplicationBson => "application/bson",
        }
    }

    fn is(self, media: &MediaType<'_>) -> bool {
        let (main, sub) = self.name();
        media.ty == main && media.subty == sub && media.suffix.is_none()
    }

    /// The answer's type: what of `accept` has the highest quality, of equals what is named most exactly, of these
    /// the first format, and of one format what is named first; where nothing of it can be given, the request's
    /// own type; else JSON. So nothing is ever not acceptable.
    pub fn choose(accept: Option<&str>, request: Option<BodyType>) -> Self {
        let mut best = None;
        for media in MediaTypeList::new(accept.unwrap_or_default()).flatten() {
            let Some(quality) = quality(&media) else { continue };
            let Some((exactness, answer)) = Self::named_by(&media) else { continue };
            let rank = (quality, exactness, Reverse(answer.format() as u8));
            if best.is_none_or(|(best, _)| rank > best) {
                best = Some((rank, answer));
            }
        }
        let own = request.map_or(Self::ApplicationJson, |request| request.answer);
        best.map_or(own, |(_, answer)| answer)
    }

    /// The first type that `media` names, and how exactly it does.
    fn named_by(media: &MediaType<'_>) -> Option<(u8, Self)> {
        if media.ty == "*" && media.subty == "*" {
            return Some((0, Self::ApplicationJson));
        }
        if media.subty == "*" {
            let of_main = Self::ALL.into_iter().find(|answer| media.ty == answer.name().0);
            return of_main.map(|answer| (1, answer));
        }
        Self::ALL.into_iter().find(|answer| answer.is(media)).map(|answer| (2, answer))
    }
}

/// How much a type is wanted: above 0, up to 1.
fn quality(media: &MediaType<'_>) -> Option<f64> {
    let Some(text) = Name::new("q").and_then(|name| media.get_param(name)) else { return Some(1.0) };
    text.unquoted_str().trim().parse().ok().filter(|quality| *quality > 0.0 && *quality <= 1.0)
}

impl BodyType {
    /// The type that a Content-Type says, if it is one that can be read.
    pub fn of(content_type: &str) -> Option<Self> {
        // What is wrong with its parameters says nothing of the type.
        let name = content_type.split(';').next()?;
        let media = MediaType::parse(name.trim()).ok()?;
        if media.ty == "application" && media.subty == "x-www-form-urlencoded" && media.suffix.is_none() {
            return Some(Self { format: Format::Form, answer: AnswerType::ApplicationJson });
        }
        let answer = AnswerType::ALL.into_iter().find(|answer| answer.is(&media))?;
        Some(Self { format: answer.format(), answer })
    }
}

/// The charset that a Content-Type says; an empty one, which is none, where that can't be told.
pub(super) fn charset(content_type: &str) -> Option<String> {
    let Ok(media) = MediaType::parse(content_type.trim()) else {
        return content_type.to_ascii_lowercase().contains("charset").then(String::new);
    };
    let charset = media.get_param(Name::new("charset")?)?;
    Some(charset.unquoted_str().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answers_type_is_the_best_of_accept_then_the_requests_own_then_json() {
        use AnswerType::{ApplicationBson, ApplicationJson, ApplicationXml, TextJson, TextXml};
        for (accept, request, answer) in [
            ("", "", ApplicationJson),
            ("", "text/json", TextJson),
            ("", "TEXT/XML; charset=utf-8", TextXml),
            ("", "application/bson", ApplicationBson),
            ("", "application/x-www-form-urlencoded", ApplicationJson),
            ("", "image/png", ApplicationJson),
            ("", "text/xml; charset", TextXml),
            ("", "text/xml;charset = utf-8;;", TextXml),
            ("text/xml", "application/json", TextXml),
            ("application/xml", "application/bson", ApplicationXml),
            ("application/bson", "", ApplicationBson),
            ("image/png", "text/xml", TextXml),
            ("application/x-www-form-urlencoded", "application/xml", ApplicationXml),
            ("application/json;q=0.5, application/xml;q=0.9", "", ApplicationXml),
            ("application/json;q=0.5, application/xml;q=0.5", "", ApplicationJson),
            ("text/xml;q=0.5, text/json;q=0.5", "", TextJson),
            ("application/xml, application/json", "", ApplicationJson),
            ("application/bson, text/xml, application/xml", "", TextXml),
            ("application/xml;q=0, */*;q=0.1", "application/xml", ApplicationJson),
            ("application/xml;q=0", "application/xml", ApplicationXml),
            ("*/*", "application/xml", ApplicationJson),
            ("text/*", "application/xml", TextJson),
            ("application/*", "text/xml", ApplicationJson),
            ("*/*, text/*, application/bson", "", ApplicationBson),
            ("*/*;q=1, application/bson;q=0.9", "", ApplicationJson),
            ("text/html, image/gif, *; q=.2, */*; q=.2", "text/xml", ApplicationJson),
            ("application/json;q=2, text/xml", "", TextXml),
            ("application/json;q=nan, text/xml;q=0.1", "", TextXml),
            ("application/problem+json", "text/xml", TextXml),
            (";;,,\"", "text/xml", TextXml),
        ] {
            let chosen = AnswerType::choose(Some(accept), BodyType::of(request));
            assert_eq!(chosen, answer, "{accept:?} {request:?}");
        }
    }

    #[test]
    fn a_charset_is_read_quoted_or_not() {
        for (content_type, said) in [
            ("text/xml; charset=utf-16", Some("utf-16")),
            ("text/xml;Charset=\"UTF-16\"", Some("UTF-16")),
            ("text/xml", None),
            ("?", None),
            ("text/xml; charset = gbk", Some("")),
            ("text/xml; charset", Some("")),
        ] {
            assert_eq!(charset(content_type).as_deref(), said, "{content_type}");
        }
    }
}
