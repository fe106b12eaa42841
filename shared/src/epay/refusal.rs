//! Why a request is refused: the one table from what happened to EPay's `errcode`, its `errmsg` and the HTTP
//! status.

use strum::VariantArray;

use crate::edge::Trouble;
use crate::ledger::{Amount, BatchNo, BeginRefusal, Mismatch};
use crate::limits;
use crate::store::StoreError;

use super::Expected;
use super::codec::Unreadable;

/// `errcode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, VariantArray)]
#[repr(i32)]
pub enum Errcode {
    Ok = 0,
    Unreadable = 100,
    Missing = 101,
    TooLong = 102,
    WrongType = 103,
    Repeated = 104,
    NotPositive = 110,
    TooManyDecimals = 111,
    TooLarge = 112,
    AbovePaid = 113,
    UnknownApplication = 200,
    Processing = 201,
    Done = 202,
    Withdrawn = 203,
    BatchNoUsed = 204,
    BatchNoFailed = 205,
    Different = 206,
    UnknownBatchNo = 300,
    OtherAmount = 301,
    SecondTradeNo = 302,
    Failed = 303,
    Unauthorized = 401,
    Disabled = 402,
    /// Undecided: the same sent again is safe.
    Busy = 500,
    SystemError = 501,
}

impl Errcode {
    pub fn number(self) -> i32 {
        self as i32
    }

    /// Of an answer with this `errcode`.
    pub fn http_status(self) -> u16 {
        match self {
            Self::Unreadable => 400,
            Self::Unauthorized | Self::Disabled => 401,
            _ => 200,
        }
    }
}

/// Why a request is refused. What is not [`Self::Busy`] or [`Self::SystemError`] has changed no application, but
/// a [`Self::Mismatch`] has put a confirmation on record.
#[derive(Debug)]
pub enum Refusal {
    Unreadable(Unreadable),
    Missing {
        member: &'static str,
    },
    TooLong {
        member: &'static str,
        chars_max: usize,
    },
    WrongType {
        member: &'static str,
        expected: Expected,
    },
    Repeated {
        member: &'static str,
    },
    NotPositive {
        member: &'static str,
    },
    TooManyDecimals {
        member: &'static str,
    },
    TooLarge {
        member: &'static str,
    },
    AbovePaid {
        member: &'static str,
        paid: Amount,
    },

    UnknownApplication {
        autoid: i64,
    },
    Processing {
        autoid: i64,
        batch_no: BatchNo,
    },
    Done {
        autoid: i64,
        batch_no: BatchNo,
    },
    Withdrawn {
        autoid: i64,
    },
    BatchNoUsed {
        batch_no: BatchNo,
    },
    BatchNoFailed {
        batch_no: BatchNo,
    },
    Different {
        batch_no: BatchNo,
    },

    /// A confirmation that completes nothing. It is kept.
    Mismatch {
        batch_no: BatchNo,
        mismatch: Mismatch,
    },

    Unauthorized,
    Disabled,
    /// Undecided: the same sent again is safe, and completes it.
    Busy(StoreError),
    /// Our own trouble, which trying again does not mend.
    SystemError(StoreError),
}

impl Refusal {
    pub fn of_begin(refusal: BeginRefusal, autoid: i64, batch_no: &BatchNo) -> Self {
        let batch_no = batch_no.clone();
        match refusal {
            BeginRefusal::UnknownApplication => Self::UnknownApplication { autoid },
            BeginRefusal::AbovePaid { paid } => Self::AbovePaid { member: "refundamount", paid },
            BeginRefusal::Processing { batch_no } => Self::Processing { autoid, batch_no },
            BeginRefusal::Done { batch_no } => Self::Done { autoid, batch_no },
            BeginRefusal::Withdrawn => Self::Withdrawn { autoid },
            BeginRefusal::BatchNoUsed => Self::BatchNoUsed { batch_no },
            BeginRefusal::BatchNoFailed => Self::BatchNoFailed { batch_no },
            BeginRefusal::Different => Self::Different { batch_no },
        }
    }

    pub fn errcode(&self) -> Errcode {
        match self {
            Self::Unreadable(_) => Errcode::Unreadable,
            Self::Missing { .. } => Errcode::Missing,
            Self::TooLong { .. } => Errcode::TooLong,
            Self::WrongType { .. } => Errcode::WrongType,
            Self::Repeated { .. } => Errcode::Repeated,
            Self::NotPositive { .. } => Errcode::NotPositive,
            Self::TooManyDecimals { .. } => Errcode::TooManyDecimals,
            Self::TooLarge { .. } => Errcode::TooLarge,
            Self::AbovePaid { .. } => Errcode::AbovePaid,
            Self::UnknownApplication { .. } => Errcode::UnknownApplication,
            Self::Processing { .. } => Errcode::Processing,
            Self::Done { .. } => Errcode::Done,
            Self::Withdrawn { .. } => Errcode::Withdrawn,
            Self::BatchNoUsed { .. } => Errcode::BatchNoUsed,
            Self::BatchNoFailed { .. } => Errcode::BatchNoFailed,
            Self::Different { .. } => Errcode::Different,
            Self::Mismatch { mismatch, .. } => match mismatch {
                Mismatch::UnknownBatchNo => Errcode::UnknownBatchNo,
                Mismatch::OtherAmount => Errcode::OtherAmount,
                Mismatch::SecondTradeNo => Errcode::SecondTradeNo,
                Mismatch::Failed => Errcode::Failed,
            },
            Self::Unauthorized => Errcode::Unauthorized,
            Self::Disabled => Errcode::Disabled,
            Self::Busy(_) => Errcode::Busy,
            Self::SystemError(_) => Errcode::SystemError,
        }
    }

    /// For a user's eyes.
    pub fn errmsg(&self) -> String {
        match self {
            Self::Unreadable(unreadable) => format!("请求内容无法读取：{}", unreadable.errmsg()),
            Self::Missing { member } => format!("缺少参数 {member}"),
            Self::TooLong { member, chars_max } => {
                format!("参数 {member} 过长，最多 {chars_max} 个字符")
            }
            Self::WrongType { member, expected } => {
                format!("参数 {member} 的格式不正确，应为{}", expected.errmsg())
            }
            Self::Repeated { member } => format!("参数 {member} 重复"),
            Self::NotPositive { member } => format!("参数 {member} 必须大于零"),
            Self::TooManyDecimals { member } => {
                format!("参数 {member} 最多 {} 位小数", limits::AMOUNT_DECIMALS_MAX)
            }
            Self::TooLarge { member } => format!("参数 {member} 超过上限 {}", limits::AMOUNT_MAX),
            Self::AbovePaid { member, paid } => format!("参数 {member} 超过已支付金额 {:.2}", paid.value()),
            Self::UnknownApplication { autoid } => format!("退款申请 {autoid} 不存在"),
            Self::Processing { autoid, batch_no } => {
                format!("退款申请 {autoid} 正在办理中，批次号为 {batch_no}")
            }
            Self::Done { autoid, batch_no } => {
                format!("退款申请 {autoid} 已办理完成，批次号为 {batch_no}")
            }
            Self::Withdrawn { autoid } => format!("退款申请 {autoid} 已撤消"),
            Self::BatchNoUsed { batch_no } => {
                format!("批次号 {batch_no} 已用于其他退款申请，请使用新的批次号")
            }
            Self::BatchNoFailed { batch_no } => {
                format!("批次号 {batch_no} 的退款已失败，请使用新的批次号")
            }
            Self::Different { batch_no } => {
                format!("批次号 {batch_no} 已受理，但退款金额或退款账号与首次请求不同")
            }
            Self::Mismatch { batch_no, mismatch } => {
                let why = match mismatch {
                    Mismatch::UnknownBatchNo => "没有办理中的退款使用此批次号",
                    Mismatch::OtherAmount => "退款金额与办理时不同",
                    Mismatch::SecondTradeNo => "该退款已由另一交易号确认完成",
                    Mismatch::Failed => "该退款已记录为失败",
                };
                format!("批次号 {batch_no} 的确认已保存但未生效：{why}")
            }
            Self::Unauthorized => "身份验证失败：x-api-key 缺失或无效".to_owned(),
            Self::Disabled => "商户已停用".to_owned(),
            Self::Busy(_) => "系统繁忙，请用相同参数重试".to_owned(),
            Self::SystemError(_) => "系统错误，请联系管理员".to_owned(),
        }
    }

    pub fn http_status(&self) -> u16 {
        match self {
            Self::Unreadable(Unreadable::UnsupportedType(_)) => 415,
            refusal => refusal.errcode().http_status(),
        }
    }

    /// What is odd about the request, for operators to look into.
    pub fn note(&self) -> Option<String> {
        match self {
            Self::Mismatch { mismatch, .. } => Some(format!("confirmation kept: {}", mismatch.as_str())),
            _ => None,
        }
    }

    pub fn trouble(&self) -> Trouble {
        match self {
            Self::Busy(error) | Self::SystemError(error) => error.into(),
            _ => Trouble::None,
        }
    }

    /// What stood in the way, for operators.
    pub fn cause(&self) -> Option<String> {
        match self {
            Self::Busy(error) | Self::SystemError(error) => Some(error.to_string()),
            Self::Unreadable(unreadable) => Some(unreadable.to_string()),
            _ => None,
        }
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::DeadlinePassed { .. } => Self::Busy(error),
            StoreError::Refused(_) | StoreError::Damaged { .. } => Self::SystemError(error),
        }
    }
}

impl From<Unreadable> for Refusal {
    fn from(unreadable: Unreadable) -> Self {
        Self::Unreadable(unreadable)
    }
}
