//! Errors as Ping++'s SDKs read them: an HTTP status, and an object without null members.

use serde::Serialize;
use strum::VariantArray;

use crate::edge::{Response, Trouble};
use crate::ledger::{BatchRefusal, ChargeId, ChargeProblem, DescriptionLimit};
use crate::store::StoreError;

/// The kinds of errors that there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, VariantArray)]
pub enum ErrorKind {
    Invalid,
    Unauthorized,
    Disabled,
    NotFound,
    Internal,
    /// Undecided: the same sent again is safe, and SDKs send it by themselves.
    Busy,
}

impl ErrorKind {
    pub fn status(self) -> u16 {
        match self {
            Self::Invalid => 400,
            Self::Unauthorized => 401,
            Self::Disabled => 403,
            Self::NotFound => 404,
            Self::Internal => 500,
            Self::Busy => 503,
        }
    }

    /// The document's `type`.
    pub fn type_name(self) -> &'static str {
        match self {
            Self::Invalid | Self::Unauthorized | Self::Disabled | Self::NotFound => "invalid_request_error",
            Self::Internal | Self::Busy => "api_error",
        }
    }
}

/// The only `code` that an error may have.
pub const INSUFFICIENT_FUNDS: &str = "insufficient_funds";

/// Why a call is refused.
#[derive(Debug, Clone)]
pub struct ApiError {
    pub kind: ErrorKind,
    pub message: String,
    /// The member at fault, such as `charges[3].amount`.
    pub param: Option<String>,
    pub code: Option<&'static str>,
    /// What stood in the way, for operators.
    pub cause: Option<String>,
    pub trouble: Trouble,
}

#[derive(Serialize)]
struct Wire<'a> {
    error: WireError<'a>,
}

#[derive(Serialize)]
struct WireError<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    param: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'a str>,
}

impl ApiError {
    /// HTTP 400: `param` is at fault.
    pub fn invalid(param: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            kind: ErrorKind::Invalid,
            message: message.into(),
            param: Some(param.into()),
            code: None,
            cause: None,
            trouble: Trouble::None,
        }
    }

    /// HTTP 400: the body can't be read.
    pub fn unreadable(message: impl Into<String>) -> Self {
        Self { param: None, ..Self::invalid("", message) }
    }

    /// This error, with the charge that it is about.
    pub fn about(self, charge: &ChargeId) -> Self {
        Self { message: format!("Charge {charge}: {}", self.message), ..self }
    }

    /// HTTP 401. `key` is shown by its ends alone.
    pub fn unauthorized(key: Option<&str>) -> Self {
        let message = match key {
            None => "No API key was provided; send it as the user name of HTTP Basic, or as a Bearer token."
                .to_owned(),
            Some(key) => format!("Invalid API key: {}.", masked(key)),
        };
        Self { kind: ErrorKind::Unauthorized, ..Self::unreadable(message) }
    }

    /// HTTP 401: the signature is missing or not good.
    pub fn unsigned(message: &str) -> Self {
        Self { kind: ErrorKind::Unauthorized, ..Self::unreadable(message) }
    }

    /// HTTP 403: the app may not call for now.
    pub fn disabled(app: &str) -> Self {
        Self { kind: ErrorKind::Disabled, ..Self::unreadable(format!("App {app} is disabled.")) }
    }

    /// HTTP 404.
    pub fn not_found(id: &str) -> Self {
        let id: String = id.chars().take(64).collect();
        Self { kind: ErrorKind::NotFound, ..Self::invalid("id", format!("No such batch_refund: {id}.")) }
    }

    /// Why a batch is not accepted; `charges` are those that were asked for.
    pub fn of_batch(refusal: &BatchRefusal, charges: &[&str]) -> Self {
        match refusal {
            BatchRefusal::BatchNoReused => {
                Self::invalid("batch_no", "This batch_no was used for another batch refund.")
            }
            BatchRefusal::InsufficientFunds { source } => Self {
                code: Some(INSUFFICIENT_FUNDS),
                ..Self::unreadable(format!(
                    "The app's {} do not hold what is to be refunded.",
                    source.as_str()
                ))
            },
            BatchRefusal::FundsCurrency { source } => Self::unreadable(format!(
                "The app's {} are in another currency than its charges.",
                source.as_str()
            )),
            BatchRefusal::Charge { position, problem } => {
                let charge = charges.get(*position).copied().unwrap_or_default();
                Self::of_charge(*position, charge, problem)
            }
        }
    }

    fn of_charge(position: usize, charge: &str, problem: &ChargeProblem) -> Self {
        let param = |member: &str| format!("charges[{position}]{member}");
        match problem {
            ChargeProblem::Unknown => Self::invalid(param(""), format!("No such charge: {charge}.")),
            ChargeProblem::Repeated => Self::invalid(param(""), format!("Charge {charge} is named twice.")),
            ChargeProblem::NotPaid => Self::invalid(param(""), format!("Charge {charge} is not paid.")),
            ChargeProblem::WrongCurrency => Self::invalid(
                param(""),
                format!("Charge {charge} is in another currency than the app's funds."),
            ),
            ChargeProblem::FullyRefunded => {
                Self::invalid(param(""), format!("Nothing of charge {charge} is left to be refunded."))
            }
            ChargeProblem::AboveRefundable { refundable } => Self::invalid(
                param(".amount"),
                format!("Charge {charge} has {refundable} left to be refunded."),
            ),
            ChargeProblem::FundingSourceNotAllowed => {
                let message =
                    format!("Charge {charge} is of a channel whose funding source can't be chosen.");
                Self::invalid(param(".funding_source"), message)
            }
            ChargeProblem::DescriptionTooLong { of_batch, limit } => {
                let member = if *of_batch { "description".to_owned() } else { param(".description") };
                let limit = match limit {
                    DescriptionLimit::Bytes(bytes) => format!("{bytes} bytes"),
                    DescriptionLimit::Characters(characters) => format!("{characters} characters"),
                };
                Self::invalid(member, format!("The channel of charge {charge} takes at most {limit}."))
            }
        }
    }

    pub fn response(&self) -> Response {
        let error = WireError {
            kind: self.kind.type_name(),
            message: &self.message,
            param: self.param.as_deref(),
            code: self.code,
        };
        Response::text(
            self.kind.status(),
            "application/json",
            serde_json::to_string(&Wire { error }).unwrap_or_default(),
        )
    }
}

impl From<StoreError> for ApiError {
    /// HTTP 503 where trying again may help, as the SDKs then do; else 500.
    fn from(error: StoreError) -> Self {
        let (kind, message) = match &error {
            StoreError::DeadlinePassed { .. } => (ErrorKind::Busy, "Busy. Send the same again."),
            StoreError::Refused(_) | StoreError::Damaged { .. } => (ErrorKind::Internal, "Internal error."),
        };
        Self {
            kind,
            message: message.to_owned(),
            param: None,
            code: None,
            cause: Some(error.to_string()),
            trouble: (&error).into(),
        }
    }
}

/// Enough of a key to know it by, and no more.
fn masked(key: &str) -> String {
    let characters: Vec<char> = key.chars().take(200).collect();
    match &characters[..] {
        [start @ .., a, b, c, d] if start.len() >= 16 => {
            format!("{}********{a}{b}{c}{d}", start.iter().take(8).collect::<String>())
        }
        _ => "********".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::FundingSource;

    #[test]
    fn an_error_has_no_null_members_and_shows_a_key_by_its_ends_alone() {
        let body = |error: ApiError| String::from_utf8(error.response().bytes()).unwrap();
        assert_eq!(
            body(ApiError::invalid("app", "x")),
            r#"{"error":{"type":"invalid_request_error","message":"x","param":"app"}}"#
        );
        let refused = ApiError::unauthorized(Some("sk_test_ibbTe5jLGCi5rzfH4OqPW9KC"));
        assert_eq!(refused.kind.status(), 401);
        assert_eq!(
            body(refused),
            r#"{"error":{"type":"invalid_request_error","message":"Invalid API key: sk_test_********W9KC."}}"#
        );
        assert!(body(ApiError::unauthorized(Some("sk_test_short"))).contains("key: ********."));
        let insufficient = BatchRefusal::InsufficientFunds { source: FundingSource::Recharge };
        assert!(body(ApiError::of_batch(&insufficient, &[])).contains(r#""code":"insufficient_funds""#));
    }

    #[test]
    fn the_first_offender_is_named_with_its_member() {
        let of =
            |problem| ApiError::of_batch(&BatchRefusal::Charge { position: 1, problem }, &["ch_a", "ch_b"]);
        let above = of(ChargeProblem::AboveRefundable { refundable: 7 });
        assert_eq!(above.param.as_deref(), Some("charges[1].amount"));
        assert_eq!(above.message, "Charge ch_b has 7 left to be refunded.");
        let unknown = of(ChargeProblem::Unknown);
        assert_eq!(
            (unknown.param.as_deref(), unknown.message.as_str()),
            (Some("charges[1]"), "No such charge: ch_b.")
        );
        let limit = DescriptionLimit::Bytes(30);
        let long = of(ChargeProblem::DescriptionTooLong { of_batch: true, limit });
        assert_eq!(long.param.as_deref(), Some("description"));
    }
}
