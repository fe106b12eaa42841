//! What can go wrong with the table, and which of it is worth another try.

use aws_sdk_dynamodb::config::http::HttpResponse;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};

use crate::aws::with_causes;
use crate::ledger::KeyReused;

/// The table could not be used. For logs and operators; callers are told only whether to try again.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Nothing was decided in time. `cause` is the last error on the way, if there was one.
    #[error("no answer from the table in time{}", .cause.as_deref().map(|cause| format!(": {cause}")).unwrap_or_default())]
    DeadlinePassed { cause: Option<String> },
    /// DynamoDB refused the call: permissions, a missing table, a bad request.
    #[error("the table refused the call: {0}")]
    Refused(String),
    /// An item is not as this ledger writes it.
    #[error("item {key} is damaged: {what}")]
    Damaged { key: String, what: String },
}

impl StoreError {
    /// Whether trying again may help.
    pub fn passes(&self) -> bool {
        match self {
            Self::DeadlinePassed { .. } => true,
            Self::Refused(_) | Self::Damaged { .. } => false,
        }
    }
}

/// How a call failed.
#[derive(Debug)]
pub(super) enum CallFailure {
    /// Throttled, interrupted or without answer. A write may have happened all the same.
    Transient(String),
    Final(StoreError),
}

/// Error codes that pass by themselves. Unknown ones with an HTTP status of 500 and above do too.
const TRANSIENT_CODES: [&str; 9] = [
    "InternalServerError",
    "LimitExceededException",
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "ServiceUnavailable",
    "ThrottlingException",
    "ThrottlingError",
    "TransactionConflictException",
    "TransactionInProgressException",
];

impl<E> From<SdkError<E, HttpResponse>> for CallFailure
where
    E: std::error::Error + ProvideErrorMetadata + 'static,
{
    fn from(error: SdkError<E, HttpResponse>) -> Self {
        let text = with_causes(&error);
        match &error {
            SdkError::TimeoutError(_) | SdkError::DispatchFailure(_) | SdkError::ResponseError(_) => {
                Self::Transient(text)
            }
            SdkError::ServiceError(service) => {
                let code = service.err().code().unwrap_or_default();
                if TRANSIENT_CODES.contains(&code) || service.raw().status().is_server_error() {
                    Self::Transient(text)
                } else {
                    Self::Final(StoreError::Refused(text))
                }
            }
            _ => Self::Final(StoreError::Refused(text)),
        }
    }
}

/// Why work stopped before everything was decided.
pub(super) enum Stop {
    KeyReused(KeyReused),
    Store(StoreError),
}

impl From<KeyReused> for Stop {
    fn from(reused: KeyReused) -> Self {
        Self::KeyReused(reused)
    }
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}
