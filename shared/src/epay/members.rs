//! The members of a request, whichever format they came in, and how they are read: as the framework of the
//! documented service does, which takes a number for a text and a text for a number.

use std::str::FromStr;

use rust_decimal::Decimal;

use super::Refusal;
use crate::ledger::{Amount, InvalidMoney, exact_decimal};

/// One member's value, as far as any operation needs to tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// As good as absent.
    Null,
    Text(String),
    /// With exactly its digits.
    Number(String),
    /// A list, an object, true or false, or a number that is not exact.
    Other,
}

/// What a member must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    Integer,
    Amount,
    Text,
}

impl Expected {
    /// For a user's eyes.
    pub fn errmsg(self) -> &'static str {
        match self {
            Self::Integer => "整数",
            Self::Amount => "金额",
            Self::Text => "文本，不含控制字符",
        }
    }
}

/// A request's members, as they came; only those that an operation asks for are looked at.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Members {
    named: Vec<(String, Value)>,
    /// XML's; elsewhere names match in both cases.
    has_exact_names: bool,
}

impl Members {
    /// No members yet, whose names will match only as they are written.
    pub fn with_exact_names() -> Self {
        Self { named: Vec::new(), has_exact_names: true }
    }

    pub fn add(&mut self, name: impl Into<String>, value: Value) {
        self.named.push((name.into(), value));
    }

    /// A required member's value as text; a blank one is as good as none.
    fn required(&self, name: &'static str, expected: Expected) -> Result<&str, Refusal> {
        let is_it = |own: &str| match self.has_exact_names {
            true => own == name,
            false => own.eq_ignore_ascii_case(name),
        };
        let mut named = self.named.iter().filter(|(own, _)| is_it(own));
        let (value, None) = (named.next().map(|(_, value)| value), named.next()) else {
            return Err(Refusal::Repeated { member: name });
        };
        match value {
            None | Some(Value::Null) => Err(Refusal::Missing { member: name }),
            Some(Value::Other) => Err(Refusal::WrongType { member: name, expected }),
            Some(Value::Text(text) | Value::Number(text)) if text.trim().is_empty() => {
                Err(Refusal::Missing { member: name })
            }
            Some(Value::Text(text) | Value::Number(text)) => Ok(text),
        }
    }

    /// A required text of at most `chars_max` characters, as a name of its kind.
    ///
    /// # Errors
    /// If it is missing, blank, longer, or no text: control characters are none, nor is what stands for bytes that
    /// could not be read.
    pub fn name<T: FromStr>(&self, name: &'static str, chars_max: usize) -> Result<T, Refusal> {
        let expected = Expected::Text;
        let text = self.required(name, expected)?;
        if text.chars().count() > chars_max {
            return Err(Refusal::TooLong { member: name, chars_max });
        }
        let is_none = |c: char| matches!(c, char::REPLACEMENT_CHARACTER..='\u{ffff}');
        let name_of_its_kind = text.parse().ok().filter(|_| !text.contains(is_none));
        name_of_its_kind.ok_or(Refusal::WrongType { member: name, expected })
    }

    fn number(&self, name: &'static str, expected: Expected) -> Result<Decimal, Refusal> {
        let text = self.required(name, expected)?.trim();
        exact_decimal(text).map_err(|_| Refusal::WrongType { member: name, expected })
    }

    /// A required whole number.
    ///
    /// # Errors
    /// If it is missing, or none that 64 bits hold.
    pub fn integer(&self, name: &'static str) -> Result<i64, Refusal> {
        let expected = Expected::Integer;
        let number = self.number(name, expected)?.normalize();
        let is_whole = number.scale() == 0;
        let whole = is_whole.then(|| i64::try_from(number).ok()).flatten();
        whole.ok_or(Refusal::WrongType { member: name, expected })
    }

    /// A required amount.
    ///
    /// # Errors
    /// If it is missing, no number, not more than zero, has more than two decimals, or is above all limits.
    pub fn amount(&self, name: &'static str) -> Result<Amount, Refusal> {
        let expected = Expected::Amount;
        Amount::new(self.number(name, expected)?).map_err(|invalid| match invalid {
            InvalidMoney::NotPositive => Refusal::NotPositive { member: name },
            InvalidMoney::TooManyDecimals => Refusal::TooManyDecimals { member: name },
            InvalidMoney::TooLarge => Refusal::TooLarge { member: name },
            InvalidMoney::NotExact | InvalidMoney::NotACurrency | InvalidMoney::Insufficient => {
                Refusal::WrongType { member: name, expected }
            }
        })
    }
}
