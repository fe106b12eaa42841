//! Amounts: a number is read to the digit, or not at all.

use rust_decimal::Decimal;
use shared::ebet::JsonMoney;
use shared::ledger::{Amount, Balance, Currency, InvalidMoney, MinorUnits, exact_decimal};
use shared::limits;

/// A number by its sign, its digits without zeros at either end, and the power of ten that they stand for.
#[derive(Debug, PartialEq, Eq)]
struct Exact {
    is_negative: bool,
    digits: String,
    exponent: i64,
}

impl Exact {
    /// By the rules of JSON, but that zeros may stand before others, and a plus before all.
    fn of(text: &str) -> Option<Self> {
        let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
        let (is_negative, mantissa) = match mantissa.strip_prefix('-') {
            Some(mantissa) => (true, mantissa),
            None => (false, mantissa.strip_prefix('+').unwrap_or(mantissa)),
        };
        let (whole, decimals) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let all = format!("{whole}{decimals}");
        if all.is_empty() || !all.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let exponent = exponent.parse::<i64>().ok()?.checked_sub(i64::try_from(decimals.len()).ok()?)?;
        let digits = all.trim_end_matches('0');
        let zeros = i64::try_from(all.len() - digits.len()).ok()?;
        let digits = digits.trim_start_matches('0').to_owned();
        let is_zero = digits.is_empty();
        let exponent = if is_zero { 0 } else { exponent.checked_add(zeros)? };
        Some(Self { is_negative: is_negative && !is_zero, digits, exponent })
    }

    /// Whether a decimal is sure to hold it.
    fn is_held(&self) -> bool {
        let digits = i64::try_from(self.digits.len()).unwrap();
        !self.digits.is_empty() && (-28..=28 - digits).contains(&self.exponent)
    }
}

/// Whether it is written as JSON has it, with no more digits than a decimal has.
fn is_plain(text: &str) -> bool {
    let is_json = serde_json::from_str::<serde_json::Number>(text).is_ok() && text.trim() == text;
    let mantissa = text.split(['e', 'E']).next().unwrap_or_default();
    is_json && mantissa.bytes().filter(u8::is_ascii_digit).count() <= 28
}

pub fn decimals(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let exact = Exact::of(text);
    match exact_decimal(text) {
        Ok(value) => {
            super::taken();
            let printed = value.to_string();
            assert_eq!(Exact::of(&printed), exact, "{text} became {printed}");
            assert_eq!(exact_decimal(&printed), Ok(value));
            assert_eq!(serde_json::to_string(&JsonMoney(value)).ok(), Some(value.normalize().to_string()));
            assert!(value.scale() <= 28);
            within_limits(text, value);
        }
        Err(error) => {
            assert_eq!(error, InvalidMoney::NotExact);
            let is_refused_by_length = text.len() > limits::NUMBER_BYTES_MAX;
            let is_held = exact.is_some_and(|exact| exact.is_held());
            assert!(is_refused_by_length || !is_held || !is_plain(text), "{text} can be held");
        }
    }
    if let Ok(currency) = text.parse::<Currency>() {
        assert_eq!((currency.as_str(), currency.to_string().as_str()), (text, text));
    }
    if let Some(units) = text.parse().ok().and_then(|units| MinorUnits::new(units).ok()) {
        let amount = units.amount().expect("units are an amount");
        assert_eq!(amount.value(), Decimal::from(units.value()));
    }
}

fn within_limits(text: &str, value: Decimal) {
    let most = Decimal::from(limits::AMOUNT_MAX);
    let is_balance = value.normalize().scale() <= limits::AMOUNT_DECIMALS_MAX && value.abs() <= most;
    let balance = text.parse::<Balance>();
    assert_eq!(balance.is_ok(), is_balance, "{text}");
    let amount = text.parse::<Amount>();
    assert_eq!(amount.is_ok(), is_balance && value > Decimal::ZERO, "{text}");
    let (Ok(balance), Ok(amount)) = (balance, amount) else { return };
    assert_eq!(amount.to_string().parse(), Ok(amount));
    assert_eq!(balance.to_string().parse(), Ok(balance));
    let credited = balance.credited(amount).expect("twice the most is held");
    assert_eq!(credited.value(), value + value);
    assert_eq!(credited.debited(amount), Ok(balance));
    assert_eq!(balance.debited(amount), Ok(Balance::recorded(Decimal::ZERO)));
}
