//! Requests out of bytes: what a caller could write, with something wrong here and there. Bytes alone seldom come to a
//! request that is authenticated and reaches the ledger.

use arbitrary::{Arbitrary, Unstructured};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Map, Value};

/// An input: a text as it stands, or, where it begins with a byte that no text begins with, what a grammar makes of the
/// rest.
pub enum Input<'a> {
    Text(&'a [u8]),
    Grammar(Grammar<'a>),
}

impl<'a> Input<'a> {
    pub fn of(input: &'a [u8]) -> Self {
        match input {
            [0x80..=0xff, rest @ ..] => Self::Grammar(Grammar(Unstructured::new(rest))),
            text => Self::Text(text),
        }
    }
}

/// A member of a JSON object: its name, and what it may be.
pub struct Member(&'static str, Values);

enum Values {
    /// JSON texts; the first one is in order.
    Of(&'static [&'static str]),
    /// A list of objects, each with the members of one of these kinds.
    Objects(&'static [&'static [Member]]),
}

pub const fn of(name: &'static str, values: &'static [&'static str]) -> Member {
    Member(name, Values::Of(values))
}

pub const fn list(name: &'static str, kinds: &'static [&'static [Member]]) -> Member {
    Member(name, Values::Objects(kinds))
}

/// Numbers at the edges of what can be held, and what looks like numbers.
pub const NUMBERS: &[&str] = &[
    "0",
    "-0",
    "-1",
    "1.0",
    "0.01",
    "0.001",
    "1e3",
    "1E+2",
    "1e-2",
    "1e400",
    "-1e-400",
    "0e99999999999",
    "1000000000000000",
    "1000000000000000.01",
    "-1000000000000000",
    "4.9999999999999999999999999999999999",
    "79228162514264337593543950335",
    "79228162514264337593543950336",
    "9223372036854775807",
    "9223372036854775808",
    "-9223372036854775808",
    "18446744073709551615",
    "18446744073709551616",
    "01",
    "NaN",
    "1_000",
];

/// Texts that mean something somewhere.
pub const TEXTS: &[&str] = &[
    "", " ", "a", "#", "%", "a#b", "%23", "a\nb", "\0", "\u{7f}", "\u{fffd}", "\u{feff}", "牌", "🀄", "-1",
    "null",
];

/// What one byte after another decides. Where they have ended, the first choice is taken, so that a short input is a
/// request in order.
pub struct Grammar<'a>(Unstructured<'a>);

impl Grammar<'_> {
    pub fn pick<'t, T>(&mut self, choices: &'t [T]) -> &'t T {
        let choice = self.0.int_in_range(0..=choices.len() - 1).unwrap_or_default();
        &choices[choice]
    }

    /// From 1 to `most`.
    pub fn count(&mut self, most: usize) -> usize {
        self.0.int_in_range(1..=most).unwrap_or(1)
    }

    /// Seldom: once in so many times.
    pub fn is_one_in(&mut self, times: u8) -> bool {
        self.0.int_in_range(0..=times - 1).unwrap_or_default() == times - 1
    }

    pub fn bytes(&mut self) -> Vec<u8> {
        Vec::arbitrary(&mut self.0).unwrap_or_default()
    }

    pub fn text(&mut self) -> String {
        match self.pick(&[0, 1, 2]) {
            0 => (*self.pick(TEXTS)).to_owned(),
            1 => self.pick(TEXTS).repeat(self.count(255)),
            _ => String::arbitrary(&mut self.0).unwrap_or_default(),
        }
    }

    /// Any JSON, or nearly.
    pub fn json(&mut self, depth: usize) -> String {
        match self.pick(&[0, 1, 2, 3, 4, 5, 6]) {
            0 => (*self.pick(&["null", "true", "false", "[]", "{}"])).to_owned(),
            1 => (*self.pick(NUMBERS)).to_owned(),
            2 => i64::arbitrary(&mut self.0).unwrap_or_default().to_string(),
            3 if depth > 0 => {
                let values: Vec<String> = (0..self.count(3)).map(|_| self.json(depth - 1)).collect();
                format!("[{}]", values.join(","))
            }
            4 if depth > 0 => format!("{{{}:{}}}", quoted(&self.text()), self.json(depth - 1)),
            5 => (*self.pick(&["\"\\ud800\"", "\"", "{", "[", "", "nul", "\"\\u0000\""])).to_owned(),
            _ => quoted(&self.text()),
        }
    }

    /// Bytes with something missing, new, turned over or cut off.
    pub fn changed(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut changed = bytes.to_vec();
        let place = self.place(&changed);
        match self.pick(&[0, 1, 2, 3]) {
            0 => drop(changed.drain(place..changed.len().min(place + self.count(16)))),
            1 => drop(changed.splice(place..place, self.bytes())),
            2 => changed.truncate(place),
            _ => {
                if let Some(byte) = changed.get_mut(place) {
                    *byte ^= 1 << (self.count(8) - 1);
                }
            }
        }
        changed
    }

    fn place(&mut self, bytes: &[u8]) -> usize {
        self.0.int_in_range(0..=bytes.len()).unwrap_or_default()
    }

    /// A JSON text of which one value, however deep, is another one, or gone.
    pub fn changed_json(&mut self, text: &str) -> String {
        const PLACE: &str = "\u{1}here";
        let Ok(mut json) = serde_json::from_str::<Value>(text) else { return text.to_owned() };
        let mut path = String::new();
        while !self.is_one_in(6) {
            match json.pointer(&path) {
                Some(Value::Object(members)) if !members.is_empty() => {
                    let names: Vec<&String> = members.keys().collect();
                    let name = self.pick(&names).replace('~', "~0").replace('/', "~1");
                    path = format!("{path}/{name}");
                }
                Some(Value::Array(values)) if !values.is_empty() => {
                    path = format!("{path}/{}", self.count(values.len()) - 1);
                }
                _ => break,
            }
        }
        let parent = path.rsplit_once('/').and_then(|(parent, name)| Some((json.pointer_mut(parent)?, name)));
        match parent {
            Some((Value::Object(members), name)) if self.is_one_in(6) => {
                members.remove(name);
                return json.to_string();
            }
            _ => {}
        }
        if let Some(value) = json.pointer_mut(&path) {
            *value = Value::from(PLACE);
        }
        let other = self.json(2);
        json.to_string().replacen(&quoted(PLACE), &other, 1)
    }

    /// A value as DynamoDB has it.
    pub fn attribute(&mut self) -> Value {
        match self.pick(&[0, 1, 2, 3, 4, 5, 6]) {
            0 => serde_json::json!({"S": self.text()}),
            1 => {
                serde_json::json!({"N": *self.pick(&["0", "1", "-1", "2", "1.5", "1e3", "18446744073709551616"])})
            }
            2 => serde_json::json!({"BOOL": self.is_one_in(2)}),
            3 => serde_json::json!({"B": BASE64.encode(self.bytes())}),
            4 => serde_json::json!({"M": Map::new()}),
            5 => serde_json::json!({"L": [{"S": self.text()}]}),
            _ => serde_json::json!({"SS": [self.text()]}),
        }
    }

    /// An object's text: each member is in its place mostly, and what it should be.
    pub fn object(&mut self, members: &[Member]) -> String {
        let mut written = Vec::with_capacity(members.len());
        for Member(name, values) in members {
            let times = match () {
                () if self.is_one_in(48) => 0,
                () if self.is_one_in(96) => 2,
                () => 1,
            };
            for _ in 0..times {
                let value = match values {
                    _ if self.is_one_in(48) => self.json(2),
                    Values::Of(values) => (*self.pick(values)).to_owned(),
                    Values::Objects(kinds) => {
                        let objects: Vec<String> = (0..self.count(4))
                            .map(|_| {
                                let kind = self.pick(kinds);
                                self.object(kind)
                            })
                            .collect();
                        format!("[{}]", objects.join(","))
                    }
                };
                written.push(format!("\"{name}\":{value}"));
            }
        }
        format!("{{{}}}", written.join(","))
    }
}

/// A text as JSON has it.
pub fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}
