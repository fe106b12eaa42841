//! eBET's status codes: the one table from what happened to the number that tells it.

use strum::VariantArray;

use crate::ledger::{RefundedBy, Refusal, Verdict};

/// A status that a channel may answer, by eBET's list of codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, VariantArray)]
#[repr(u16)]
pub enum Code {
    Ok = 200,
    UnknownChannel = 202,
    NoSeqNo = 206,
    WrongAmount = 207,
    NoRecord = 208,
    /// The channel had refunded on its own.
    AlreadyRefunded = 209,
    SystemError = 500,
    /// Undecided: eBET sends the same request again.
    Busy = 4003,
    BadParameters = 4025,
    BadSignature = 4026,
    IpDenied = 4027,
    Disabled = 4029,
    WrongType = 4030,
    UnknownUser = 4037,
    WrongCurrency = 5010,
}

impl Code {
    pub fn number(self) -> u16 {
        self as u16
    }
}

impl From<Refusal> for Code {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::NoDebitId => Self::NoSeqNo,
            Refusal::WrongAmount => Self::WrongAmount,
            Refusal::UnknownDebit | Refusal::WrongRound | Refusal::Settled => Self::NoRecord,
            Refusal::BadItem | Refusal::AboveLimit | Refusal::Contradiction | Refusal::BalanceTooLarge => {
                Self::BadParameters
            }
            Refusal::UnknownAccount => Self::UnknownUser,
            Refusal::WrongCurrency => Self::WrongCurrency,
        }
    }
}

impl From<&Verdict> for Code {
    fn from(verdict: &Verdict) -> Self {
        match verdict {
            Verdict::Refunded(refund) if refund.by == RefundedBy::Channel => Self::AlreadyRefunded,
            Verdict::Refunded(_) => Self::Ok,
            Verdict::Due => Self::Busy,
            Verdict::Refused(refusal) => Self::from(*refusal),
        }
    }
}
