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

/// A request's members, as they came; only those that an operation asks for are looked at.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Members(Vec<(String, Value)>);

impl Members {
    pub fn add(&mut self, name: impl Into<String>, value: Value) {
        self.0.push((name.into(), value));
    }

    /// A required member's value as text. Names match in both cases; a blank value is as good as none.
    fn required(&self, name: &'static str) -> Result<&str, Refusal> {
        let mut named = self.0.iter().filter(|(own, _)| own.eq_ignore_ascii_case(name));
        let (value, None) = (named.next().map(|(_, value)| value), named.next()) else {
            return Err(Refusal::Repeated { member: name });
        };
        match value {
            None | Some(Value::Null) => Err(Refusal::Missing { member: name }),
            Some(Value::Other) => Err(Refusal::WrongType { member: name }),
            Some(Value::Text(text) | Value::Number(text)) if text.trim().is_empty() => {
                Err(Refusal::Missing { member: name })
            }
            Some(Value::Text(text) | Value::Number(text)) => Ok(text),
        }
    }

    /// A required text of at most `chars_max` characters, as a name of its kind.
    ///
    /// # Errors
    /// If it is missing, blank, longer, or no text. Control characters are none.
    pub fn name<T: FromStr>(&self, name: &'static str, chars_max: usize) -> Result<T, Refusal> {
        let text = self.required(name)?;
        if text.chars().count() > chars_max {
            return Err(Refusal::TooLong { member: name, chars_max });
        }
        text.parse().map_err(|_| Refusal::WrongType { member: name })
    }

    fn number(&self, name: &'static str) -> Result<Decimal, Refusal> {
        exact_decimal(self.required(name)?.trim()).map_err(|_| Refusal::WrongType { member: name })
    }

    /// A required whole number.
    ///
    /// # Errors
    /// If it is missing, or none that 64 bits hold.
    pub fn integer(&self, name: &'static str) -> Result<i64, Refusal> {
        let number = self.number(name)?.normalize();
        let is_whole = number.scale() == 0;
        let whole = is_whole.then(|| i64::try_from(number).ok()).flatten();
        whole.ok_or(Refusal::WrongType { member: name })
    }

    /// A required amount.
    ///
    /// # Errors
    /// If it is missing, no number, not more than zero, has more than two decimals, or is above all limits.
    pub fn amount(&self, name: &'static str) -> Result<Amount, Refusal> {
        Amount::new(self.number(name)?).map_err(|invalid| match invalid {
            InvalidMoney::NotPositive => Refusal::NotPositive { member: name },
            InvalidMoney::TooManyDecimals => Refusal::TooManyDecimals { member: name },
            InvalidMoney::TooLarge => Refusal::TooLarge { member: name },
            InvalidMoney::NotExact | InvalidMoney::NotACurrency => Refusal::WrongType { member: name },
        })
    }
}
