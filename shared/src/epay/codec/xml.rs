//! XML as .NET's data contracts have it: members are the root's elements. No document types, and no entities but
//! XML's own five and characters by number: nothing in a body can refer to anything.

use std::fmt::Write as _;

use quick_xml::NsReader;
use quick_xml::escape::{partial_escape, resolve_predefined_entity};
use quick_xml::events::{BytesRef, BytesStart, Event};
use quick_xml::name::{Namespace, NamespaceResolver, ResolveResult};

use super::text::is_foreign;
use super::{Answer, Field, Format, Unreadable};
use crate::epay::{Members, Value};
use crate::limits;

const INSTANCE: &str = "http://www.w3.org/2001/XMLSchema-instance";
const MALFORMED: Unreadable = Unreadable::Malformed(Format::Xml);

/// The root element of a body or an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct XmlRoot {
    /// None: whatever it is called.
    pub name: Option<&'static str>,
    /// Of the root and of its members; none for what has none.
    pub namespace: Option<&'static str>,
}

/// A member that is being read.
struct Open {
    name: String,
    text: String,
    is_nil: bool,
    has_elements: bool,
}

impl Open {
    fn new(start: &BytesStart<'_>, resolver: &NamespaceResolver) -> Self {
        let is_nil = start.attributes().with_checks(false).has_nil(resolver);
        let name = start.local_name().as_ref().to_owned();
        Self { name, text: String::new(), is_nil, has_elements: false }
    }

    fn value(self) -> Value {
        match self {
            Self { is_nil: true, .. } => Value::Null,
            Self { has_elements: true, .. } => Value::Other,
            Self { text, .. } => Value::Text(text),
        }
    }
}

/// Reads the members of the root element, in any order. Elements of other namespaces are skipped.
pub(super) fn read(text: &str, root: &XmlRoot) -> Result<Members, Unreadable> {
    let mut reader = NsReader::from_str(text);
    reader.config_mut().check_comments = true;
    let mut members = Members::with_exact_names();
    let mut open: Option<Open> = None;
    let mut depth = 0;
    let mut is_over = false;
    loop {
        let event = reader.read_event().map_err(|_| MALFORMED)?;
        let resolver = reader.resolver();
        match &event {
            Event::Start(start) | Event::Empty(start) => {
                let is_empty = matches!(event, Event::Empty(_));
                check(start)?;
                let is_own = is_of(start, resolver, root);
                match depth {
                    0 if is_over || !is_own => return Err(Unreadable::Root),
                    0 if root.name.is_some_and(|name| start.local_name().as_ref() != name) => {
                        return Err(Unreadable::Root);
                    }
                    0 => is_over = is_empty,
                    1 if is_own => {
                        let member = Open::new(start, resolver);
                        if is_empty {
                            members.add(member.name.clone(), member.value());
                        } else {
                            open = Some(member);
                        }
                    }
                    limits::XML_DEPTH_MAX => return Err(Unreadable::TooDeep),
                    _ => {
                        if let Some(member) = &mut open {
                            member.has_elements = true;
                        }
                    }
                }
                depth += usize::from(!is_empty);
            }
            Event::End(_) => {
                depth = depth.checked_sub(1).ok_or(MALFORMED)?;
                match depth {
                    0 => is_over = true,
                    1 => {
                        if let Some(member) = open.take() {
                            members.add(member.name.clone(), member.value());
                        }
                    }
                    _ => {}
                }
            }
            Event::Text(text) => take_text(&mut open, depth, &text.xml10_content())?,
            Event::CData(text) => take_text(&mut open, depth, &text.xml10_content())?,
            Event::GeneralRef(reference) => take_text(&mut open, depth, &resolved(reference)?)?,
            Event::DocType(_) => return Err(Unreadable::Doctype),
            Event::Decl(_) if depth > 0 || is_over => return Err(MALFORMED),
            Event::Decl(declaration) if !text.is_ascii() => {
                let said = declaration.encoding().transpose().map_err(|_| MALFORMED)?;
                if said.is_some_and(|encoding| is_foreign(&encoding)) {
                    return Err(Unreadable::Encoding);
                }
            }
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) => {}
            Event::Eof => return if is_over { Ok(members) } else { Err(MALFORMED) },
        }
    }
}

/// Whether an element is of the root's namespace.
fn is_of(start: &BytesStart<'_>, resolver: &NamespaceResolver, root: &XmlRoot) -> bool {
    match (resolver.resolve_element(start.name()).0, root.namespace) {
        (ResolveResult::Bound(Namespace(found)), Some(wanted)) => found == wanted,
        (ResolveResult::Unbound, None) => true,
        _ => false,
    }
}

/// What the reader leaves to its users: that an element has a name, and attributes that are some.
fn check(start: &BytesStart<'_>) -> Result<(), Unreadable> {
    let mut attributes = start.attributes();
    let are_some = attributes.by_ref().take(limits::XML_ATTRIBUTES_MAX).all(|attribute| attribute.is_ok());
    let is_named = !start.local_name().as_ref().is_empty();
    if is_named && are_some && attributes.next().is_none() { Ok(()) } else { Err(MALFORMED) }
}

/// Adds to the member that is open, if one is. Outside of members there may be white space alone.
fn take_text(open: &mut Option<Open>, depth: usize, text: &str) -> Result<(), Unreadable> {
    if depth <= 1 && !text.trim().is_empty() {
        return Err(MALFORMED);
    }
    if let Some(member) = open {
        member.text.push_str(text);
    }
    Ok(())
}

fn resolved(reference: &BytesRef<'_>) -> Result<String, Unreadable> {
    if let Some(character) = reference.resolve_char_ref().map_err(|_| MALFORMED)? {
        return Ok(character.to_string());
    }
    resolve_predefined_entity(reference).map(str::to_owned).ok_or(MALFORMED)
}

/// Without white space between elements; what is null is so by attribute.
pub(super) fn write(answer: &Answer<'_>) -> String {
    let name = answer.root.name.unwrap_or_default();
    let mut text = format!("<{name}");
    if let Some(namespace) = answer.root.namespace {
        let _ = write!(text, " xmlns:i=\"{INSTANCE}\" xmlns=\"{namespace}\"");
    }
    text.push('>');
    for (member, field) in &answer.members {
        let _ = match field {
            Field::Null => write!(text, "<{member} i:nil=\"true\" />"),
            Field::Integer(number) => write!(text, "<{member}>{number}</{member}>"),
            Field::Text(value) => write!(text, "<{member}>{}</{member}>", partial_escape(writable(value))),
        };
    }
    let _ = write!(text, "</{name}>");
    text
}

/// XML has no place for some characters, whichever way they are written.
fn writable(text: &str) -> String {
    let is_writable = |c: char| matches!(c, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..);
    text.chars().map(|c| if is_writable(c) { c } else { char::REPLACEMENT_CHARACTER }).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ROOT: XmlRoot = XmlRoot { name: Some("R"), namespace: Some("urn:r") };

    fn members(expected: &[(&str, Value)]) -> Members {
        let mut members = Members::with_exact_names();
        for (name, value) in expected {
            members.add(*name, value.clone());
        }
        members
    }

    fn text(text: &str) -> Value {
        Value::Text(text.to_owned())
    }

    #[test]
    fn members_are_read_in_any_order_and_foreign_elements_are_skipped() {
        for (body, read) in [
            ("<R xmlns='urn:r'><b>2</b><a>1</a></R>", vec![("b", text("2")), ("a", text("1"))]),
            (
                "<?xml version='1.0'?>\n<!-- c --><x:R xmlns:x='urn:r'><x:a>1</x:a><a>2</a></x:R>\n",
                vec![("a", text("1"))],
            ),
            (
                "<R xmlns='urn:r' xmlns:i='http://www.w3.org/2001/XMLSchema-instance'><a i:nil='true'/><b i:nil='true'></b><c i:nil='false'>x</c></R>",
                vec![("a", Value::Null), ("b", Value::Null), ("c", text("x"))],
            ),
            ("<R xmlns='urn:r'><a nil='true'>1</a></R>", vec![("a", text("1"))]),
            (
                "<R xmlns='urn:r'><a>1 &lt;&amp;&#50;&#x33;<![CDATA[<&]]></a></R>",
                vec![("a", text("1 <&23<&"))],
            ),
            ("<R xmlns='urn:r'><a><deep>1</deep></a><b/></R>", vec![("a", Value::Other), ("b", text(""))]),
            ("<R xmlns='urn:r'><f:a xmlns:f='urn:f'><a>1</a></f:a></R>", vec![]),
            ("<R xmlns='urn:r'/>", vec![]),
        ] {
            assert_eq!(super::read(body, &ROOT), Ok(members(&read)), "{body}");
        }
    }

    #[test]
    fn what_is_no_such_document_is_refused() {
        let deep = format!("<R xmlns='urn:r'>{}{}</R>", "<d>".repeat(10_000), "</d>".repeat(10_000));
        let laughs = "<!DOCTYPE l [<!ENTITY a 'ha'><!ENTITY b '&a;&a;'>]><R xmlns='urn:r'><a>&b;</a></R>";
        let bindings = (0..2_000).map(|number| format!(" xmlns:n{number}='u'")).collect::<String>();
        for (body, refused) in [
            (laughs, Unreadable::Doctype),
            ("<!DOCTYPE l SYSTEM 'file:///etc/passwd'><R xmlns='urn:r'/>", Unreadable::Doctype),
            ("<R xmlns='urn:r'><a>&b;</a></R>", MALFORMED),
            ("<R xmlns='urn:r'><a>&#0;</a></R>", MALFORMED),
            ("<R xmlns='urn:r'><a>&#xFFFFFFFFFF;</a></R>", MALFORMED),
            (&deep, Unreadable::TooDeep),
            (&format!("<R xmlns='urn:r'{bindings}/>"), MALFORMED),
            ("<?xml version='1.0' encoding='gb2312'?><R xmlns='urn:r'><a>С</a></R>", Unreadable::Encoding),
            ("<R><a>1</a></R>", Unreadable::Root),
            ("<R xmlns='urn:other'><a>1</a></R>", Unreadable::Root),
            ("<S xmlns='urn:r'><a>1</a></S>", Unreadable::Root),
            ("<u:R xmlns='urn:r'/>", Unreadable::Root),
            ("<R xmlns='urn:r'/><R xmlns='urn:r'/>", Unreadable::Root),
            ("<R xmlns='urn:r'><a>1</b></R>", MALFORMED),
            ("<R xmlns='urn:r'><a>1</a>", MALFORMED),
            ("<R xmlns='urn:r'></R></R>", MALFORMED),
            ("<R xmlns='urn:r'>junk<a>1</a></R>", MALFORMED),
            ("<R xmlns='urn:r'><a x>1</a></R>", MALFORMED),
            ("<R xmlns='urn:r'><a x=1>1</a></R>", MALFORMED),
            ("<R xmlns='urn:r'><a x='1' x='2'>1</a></R>", MALFORMED),
            ("<R xmlns='urn:r'><></></R>", MALFORMED),
            ("<R xmlns='urn:r'><!-- a -- b --></R>", MALFORMED),
            ("<R xmlns='urn:r'><?xml version='1.0'?></R>", MALFORMED),
            ("x<R xmlns='urn:r'/>", MALFORMED),
            ("<R xmlns='urn:r'/>x", MALFORMED),
            ("{}", MALFORMED),
            ("", MALFORMED),
            ("<", MALFORMED),
        ] {
            let start = body.get(..60).unwrap_or(body);
            assert_eq!(super::read(body, &ROOT), Err(refused), "{start}");
        }
        let any_name = XmlRoot { name: None, ..ROOT };
        assert!(super::read("<S xmlns='urn:r'><a>1</a></S>", &any_name).is_ok());
    }

    #[test]
    fn what_xml_has_no_place_for_is_replaced() {
        let answer = Answer { root: ROOT, members: vec![("a", Field::Text("<&>\"\u{1}\u{ffff}\u{1f600}"))] };
        let written = write(&answer);
        let start = "<R xmlns:i=\"http://www.w3.org/2001/XMLSchema-instance\" xmlns=\"urn:r\">";
        assert_eq!(written, format!("{start}<a>&lt;&amp;&gt;\"\u{fffd}\u{fffd}\u{1f600}</a></R>"));
    }

    proptest! {
        #[test]
        fn no_text_makes_the_reader_panic(body in "[<>/?&;#x!\\[\\]CDATAREFENTITY:'\" =a-c0-9-]{0,120}") {
            let _ = super::read(&body, &ROOT);
            let _ = super::read(&format!("<R xmlns='urn:r'>{body}</R>"), &ROOT);
        }
    }
}
