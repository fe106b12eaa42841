//! Exact money: decimals from the text a caller sent to the table and back, never a float.

use std::fmt;
use std::str::FromStr;

use rust_decimal::Decimal;

use crate::limits;

/// Why a number or text is not money.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidMoney {
    #[error("is not a decimal number that can be held exactly")]
    NotExact,
    #[error("must be more than zero")]
    NotPositive,
    #[error("has more than {} decimals", limits::AMOUNT_DECIMALS_MAX)]
    TooManyDecimals,
    #[error("is above the limit of {}", limits::AMOUNT_MAX)]
    TooLarge,
    #[error("is more than the balance")]
    Insufficient,
    #[error("is not a currency code of 3 to 10 capital letters or digits")]
    NotACurrency,
}

/// Reads a JSON-style number (sign, digits, point, exponent) without ever rounding.
///
/// # Errors
/// [`InvalidMoney::NotExact`] if the text is not such a number, or needs more than `Decimal` can hold.
pub fn exact_decimal(text: &str) -> Result<Decimal, InvalidMoney> {
    let is_of_numbers = |byte: u8| byte.is_ascii_digit() || b"+-.eE".contains(&byte);
    if text.len() > limits::NUMBER_BYTES_MAX || !text.bytes().all(is_of_numbers) {
        return Err(InvalidMoney::NotExact);
    }
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()),
        None => (text, Some(0)),
    };
    let exponent = exponent.ok_or(InvalidMoney::NotExact)?;
    let mantissa = Decimal::from_str_exact(mantissa).map_err(|_| InvalidMoney::NotExact)?.normalize();
    shift(mantissa, exponent).ok_or(InvalidMoney::NotExact)
}

/// `mantissa × 10^exponent`, or nothing where that can't be held exactly.
fn shift(mantissa: Decimal, exponent: i32) -> Option<Decimal> {
    let scale = i32::try_from(mantissa.scale()).ok()?.checked_sub(exponent)?;
    let mut digits = mantissa.mantissa();
    let Ok(mut scale) = u32::try_from(scale) else {
        let shifted = digits.checked_mul(10i128.checked_pow(scale.unsigned_abs())?)?;
        return Decimal::try_from_i128_with_scale(shifted, 0).ok();
    };
    // Zeros at the end of a whole number take no place behind the point.
    while scale > Decimal::MAX_SCALE && digits != 0 && digits % 10 == 0 {
        (digits, scale) = (digits / 10, scale - 1);
    }
    Some(Decimal::try_from_i128_with_scale(digits, scale).ok()?.normalize())
}

/// An amount to move: more than zero, at most [`limits::AMOUNT_MAX`], at most two decimals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Amount(Decimal);

impl Amount {
    /// # Errors
    /// Says which of the three rules `value` breaks.
    pub fn new(value: Decimal) -> Result<Self, InvalidMoney> {
        if value <= Decimal::ZERO {
            return Err(InvalidMoney::NotPositive);
        }
        within_limits(value).map(Self)
    }

    pub fn value(self) -> Decimal {
        self.0
    }
}

impl FromStr for Amount {
    type Err = InvalidMoney;

    fn from_str(text: &str) -> Result<Self, InvalidMoney> {
        Self::new(exact_decimal(text)?)
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What an account holds, in units of its currency. May be negative: an operator's wallet is taken as
/// it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Balance(Decimal);

impl Balance {
    /// # Errors
    /// If `value` has more than two decimals or is beyond [`limits::AMOUNT_MAX`] either way.
    pub fn new(value: Decimal) -> Result<Self, InvalidMoney> {
        within_limits(value).map(Self)
    }

    /// A balance as the ledger wrote it. A sum of postings may be above what may be opened with.
    pub fn recorded(value: Decimal) -> Self {
        Self(value.normalize())
    }

    pub fn value(self) -> Decimal {
        self.0
    }

    /// The balance after crediting `amount`.
    ///
    /// # Errors
    /// [`InvalidMoney::TooLarge`] where the sum can't be held exactly.
    pub fn credited(self, amount: Amount) -> Result<Self, InvalidMoney> {
        // Decimal drops digits rather than overflow, so the bound is on the sum, long before that.
        let headroom = Decimal::from(limits::AMOUNT_MAX) * Decimal::from(1_000);
        let sum = self.0.checked_add(amount.0).ok_or(InvalidMoney::TooLarge)?;
        if sum > headroom { Err(InvalidMoney::TooLarge) } else { Ok(Self(sum.normalize())) }
    }
}

impl Balance {
    /// The balance after taking `amount`, which must be there.
    ///
    /// # Errors
    /// [`InvalidMoney::Insufficient`] where it isn't.
    pub fn debited(self, amount: Amount) -> Result<Self, InvalidMoney> {
        if self.0 < amount.0 {
            Err(InvalidMoney::Insufficient)
        } else {
            Ok(Self((self.0 - amount.0).normalize()))
        }
    }
}

impl FromStr for Balance {
    type Err = InvalidMoney;

    fn from_str(text: &str) -> Result<Self, InvalidMoney> {
        Self::new(exact_decimal(text)?)
    }
}

impl fmt::Display for Balance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Normalised, so that equal money has one text: 16.850 becomes 16.85, and -0 becomes 0.
fn within_limits(value: Decimal) -> Result<Decimal, InvalidMoney> {
    let value = value.normalize();
    if value.scale() > limits::AMOUNT_DECIMALS_MAX {
        return Err(InvalidMoney::TooManyDecimals);
    }
    if value.abs() > Decimal::from(limits::AMOUNT_MAX) {
        return Err(InvalidMoney::TooLarge);
    }
    Ok(value)
}

/// A currency code such as `CNY`; longer ones than ISO 4217 knows, such as `USDT`, are in use too.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Currency(String);

impl Currency {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Currency {
    type Err = InvalidMoney;

    fn from_str(text: &str) -> Result<Self, InvalidMoney> {
        let is_code_character = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit();
        if (3..=10).contains(&text.len()) && text.bytes().all(is_code_character) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidMoney::NotACurrency)
        }
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_are_read_exactly_or_not_at_all() {
        for (text, exact) in [
            ("16.85", Some("16.85")),
            ("0.1", Some("0.1")),
            ("-1000", Some("-1000")),
            ("10.000", Some("10")),
            ("1e3", Some("1000")),
            ("1.5E+2", Some("150")),
            ("1685e-2", Some("16.85")),
            ("-0", Some("0")),
            ("1.0000000000000000000000000001", Some("1.0000000000000000000000000001")),
            ("1.00000000000000000000000000001", None),
            ("1e400", None),
            ("1e-400", None),
            ("-1000000000000000000e-34", Some("-0.0000000000000001")),
            ("1000e-32", None),
            ("0e-30", None),
            ("1e99999999999", None),
            ("79228162514264337593543950336", None),
            ("", None),
            ("NaN", None),
            ("1_000", None),
            (" 1", None),
            ("1e", None),
            ("e1", None),
        ] {
            let read = exact_decimal(text).ok().map(|value| value.to_string());
            assert_eq!(read.as_deref(), exact, "{text:?}");
        }
    }

    #[test]
    fn an_amount_is_positive_with_at_most_two_decimals_and_below_the_limit() {
        use InvalidMoney::{NotExact, NotPositive, TooLarge, TooManyDecimals};
        for (text, refused) in [
            ("0.01", None),
            ("1000000000000000", None),
            ("10.000", None),
            ("0", Some(NotPositive)),
            ("-0", Some(NotPositive)),
            ("-5", Some(NotPositive)),
            ("0.001", Some(TooManyDecimals)),
            ("1000000000000000.01", Some(TooLarge)),
            ("1e16", Some(TooLarge)),
            ("ten", Some(NotExact)),
        ] {
            assert_eq!(text.parse::<Amount>().err(), refused, "{text:?}");
        }
    }

    #[test]
    fn a_tenth_and_two_tenths_are_three_tenths() {
        let sum = Balance::from_str("0.1").unwrap().credited("0.2".parse().unwrap()).unwrap();
        assert_eq!(sum.to_string(), "0.3");
    }

    proptest! {
        #[test]
        fn cents_survive_text_and_back(cents in 1i64..=100_000_000_000_000_000) {
            let amount = Amount::new(Decimal::new(cents, 2)).unwrap();
            prop_assert_eq!(amount.to_string().parse::<Amount>().unwrap(), amount);
            prop_assert_eq!(amount.value() * Decimal::from(100), Decimal::from(cents));
        }

        #[test]
        fn no_text_makes_the_reader_panic_or_round(text in "[-+0-9.eE]{0,70}") {
            if let Ok(value) = exact_decimal(&text) {
                prop_assert!(value.scale() <= 28);
            }
        }

        #[test]
        fn crediting_adds_to_the_cent(start in -1_000_000_000i64..1_000_000_000, cents in 1i64..1_000_000_000) {
            let before = Balance::new(Decimal::new(start, 2)).unwrap();
            let after = before.credited(Amount::new(Decimal::new(cents, 2)).unwrap()).unwrap();
            prop_assert_eq!(after.value(), Decimal::new(start + cents, 2));
        }
    }
}
