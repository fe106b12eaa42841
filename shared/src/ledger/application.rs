//! An application: a customer's request to be refunded, which a merchant's back office carries out. It is
//! requested, then being processed under a batch number, then done; only a requested one can be withdrawn.
//!
//! Changes are conditional writes without a read before them. So the decisions here are about what stood in a
//! write's way: they say what a refused one is told.

use std::fmt;

use super::posting::FieldDigest;
use super::{Amount, ApplicationKey, BatchKey, BatchNo, OrderNo, RefundAccount, TradeNo};
use crate::mutants::{self, Decision};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Application {
    pub key: ApplicationKey,
    /// The order that was paid.
    pub order_no: OrderNo,
    /// What was paid: no refund is above it.
    pub paid: Amount,
    pub state: ApplicationState,
    /// How many of its refunds have failed: after each it is requested again. Nothing before the first, unless somebody
    /// was told before it was on record that it is not there.
    pub failures: Option<u64>,
}

impl Application {
    /// How this one, on record, is not the one that somebody says it is. What became of it since is no difference.
    pub fn difference(&self, said: &Self) -> Option<String> {
        if self.paid != said.paid {
            return Some(format!("was paid {}", self.paid));
        }
        (self.order_no != said.order_no).then(|| format!("is of order {}", self.order_no))
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ApplicationState {
    /// The only state in which it can be withdrawn, and the only one that a refund begins in.
    Requested,
    /// A refund is under way: it can't be withdrawn, and no other refund can begin.
    Processing(ApplicationRefund),
    Done {
        refund: ApplicationRefund,
        completion: Completion,
    },
    Withdrawn(Withdrawal),
}

/// The refund of an application under a batch number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApplicationRefund {
    pub id: RefundId,
    pub batch_no: BatchNo,
    pub amount: Amount,
    pub account: RefundAccount,
    /// When it began, in Unix milliseconds.
    pub at: u64,
    /// The invocation that began it.
    pub invocation: String,
}

impl ApplicationRefund {
    /// Whether both ask for the same: sent again, it is the same refund.
    pub fn is_same(&self, other: &Self) -> bool {
        (&self.batch_no, self.amount, &self.account) == (&other.batch_no, other.amount, &other.account)
    }
}

/// A refund's own id, which its merchant is told. It follows from the batch number, as that is used once for
/// ever: `rf_` and 32 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RefundId(String);

impl RefundId {
    const DIGITS: usize = 32;

    pub fn of(batch: &BatchKey) -> Self {
        let mut digest = FieldDigest::new("applicationRefundId/1");
        digest.field(batch.merchant.as_str());
        digest.field(batch.no.as_str());
        let hash = digest.finish().to_string();
        Self(format!("rf_{}", hash.get(..Self::DIGITS).unwrap_or_default()))
    }

    /// An id as the ledger wrote it.
    pub fn recorded(text: &str) -> Self {
        Self(text.to_owned())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RefundId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What is put once under a batch number, so that no other refund has it, ever.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchGuard {
    pub application: ApplicationKey,
    pub refund: ApplicationRefund,
    /// When it was recorded that the refund has failed, in Unix milliseconds.
    pub failed_at: Option<u64>,
}

/// What the payment provider says it has paid under a batch number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Confirmation {
    pub trade_no: TradeNo,
    pub amount: Amount,
    /// When it was recorded, in Unix milliseconds.
    pub at: u64,
    /// The invocation that recorded it.
    pub invocation: String,
}

impl Confirmation {
    /// Whether both say the same.
    pub fn is_same(&self, other: &Self) -> bool {
        (&self.trade_no, self.amount) == (&other.trade_no, other.amount)
    }
}

/// How a refund came to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Completion {
    /// As it was recorded.
    pub confirmation: Confirmation,
    /// Unix milliseconds.
    pub at: u64,
    /// The invocation that completed it, which may be a later one than recorded the confirmation.
    pub invocation: String,
}

/// A customer's own end of an application.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Withdrawal {
    /// Unix milliseconds.
    pub at: u64,
    pub reason: Option<String>,
    /// Tells the attempt that did it from others.
    pub attempt: String,
}

/// A refund that the payment provider refused; its application is requested again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedRefund {
    pub refund: ApplicationRefund,
    /// When that was recorded, in Unix milliseconds.
    pub at: u64,
    pub reason: Option<String>,
}

/// What became of one condition of a refused write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Obstacle<T> {
    /// The condition held.
    NotInTheWay,
    /// There is no such item.
    Absent,
    /// The item, as it is.
    InTheWay(T),
}

/// Why a refund can't begin. Nothing has changed then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BeginRefusal {
    UnknownApplication,
    AbovePaid {
        paid: Amount,
    },
    /// Another refund of the application is under way.
    Processing {
        batch_no: BatchNo,
    },
    /// The application was refunded under another batch number.
    Done {
        batch_no: BatchNo,
    },
    Withdrawn,
    /// The batch number is another application's.
    BatchNoUsed,
    /// The batch number's refund, of this application, has failed.
    BatchNoFailed,
    /// The batch number's refund, of this application, has another amount or account.
    Different,
}

/// What a refused begin is told: the refund that was begun before, if it is the same one; else why not.
///
/// Nothing where that can't be known from what stood in the way: then the write is tried again.
pub fn judge_begin(
    asked: &BatchGuard,
    application: &Obstacle<Application>,
    guard: Option<&BatchGuard>,
) -> Option<Result<ApplicationRefund, BeginRefusal>> {
    let by_guard = || match guard {
        Some(guard) if guard.application != asked.application => Some(Err(BeginRefusal::BatchNoUsed)),
        Some(BatchGuard { failed_at: Some(_), refund, .. })
            if mutants::is_on(Decision::FailedIsTold) && refund.is_same(&asked.refund) =>
        {
            Some(Ok(refund.clone()))
        }
        Some(BatchGuard { failed_at: Some(_), .. }) => Some(Err(BeginRefusal::BatchNoFailed)),
        _ => None,
    };
    let application = match application {
        Obstacle::Absent => return Some(Err(BeginRefusal::UnknownApplication)),
        Obstacle::InTheWay(application) => application,
        Obstacle::NotInTheWay => return by_guard(),
    };
    let refused = match &application.state {
        ApplicationState::Processing(refund) | ApplicationState::Done { refund, .. }
            if refund.batch_no == asked.refund.batch_no =>
        {
            if refund.is_same(&asked.refund) {
                return Some(Ok(refund.clone()));
            }
            BeginRefusal::Different
        }
        ApplicationState::Processing(refund) => {
            BeginRefusal::Processing { batch_no: refund.batch_no.clone() }
        }
        ApplicationState::Done { refund, .. } => BeginRefusal::Done { batch_no: refund.batch_no.clone() },
        ApplicationState::Withdrawn(_) => BeginRefusal::Withdrawn,
        ApplicationState::Requested if asked.refund.amount > application.paid => {
            BeginRefusal::AbovePaid { paid: application.paid }
        }
        // It is requested again, after a refund that has failed.
        ApplicationState::Requested => return by_guard(),
    };
    Some(Err(refused))
}

/// Why a confirmation completes nothing. It is kept all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mismatch {
    /// No refund was begun under its batch number.
    UnknownBatchNo,
    OtherAmount,
    /// The refund was done by another trade number.
    SecondTradeNo,
    /// The refund was recorded as failed before.
    Failed,
}

impl Mismatch {
    /// As it stands in logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::UnknownBatchNo => "unknownBatchNo",
            Self::OtherAmount => "otherAmount",
            Self::SecondTradeNo => "secondTradeNo",
            Self::Failed => "failed",
        }
    }
}

/// The refund that a confirmation is for.
///
/// # Errors
/// Where it can't be of the batch number's refund.
pub fn judge_confirmation<'a>(
    said: &Confirmation,
    guard: Option<&'a BatchGuard>,
) -> Result<&'a BatchGuard, Mismatch> {
    let guard = guard.ok_or(Mismatch::UnknownBatchNo)?;
    if guard.failed_at.is_some() {
        return Err(Mismatch::Failed);
    }
    if guard.refund.amount == said.amount { Ok(guard) } else { Err(Mismatch::OtherAmount) }
}

/// The confirmation that completes a refund: of those with its amount the one that was recorded first, whoever comes
/// to complete it. `recorded` are in the order they were recorded in.
pub fn completing<'a>(recorded: &'a [Confirmation], refund: &ApplicationRefund) -> Option<&'a Confirmation> {
    recorded.iter().find(|confirmation| confirmation.amount == refund.amount)
}

/// What a completion that was refused comes to, by the application as it is: the refund, if this very confirmation
/// completed it before.
///
/// # Errors
/// Why it completes nothing.
pub fn judge_completion(
    said: &Confirmation,
    batch_no: &BatchNo,
    state: &ApplicationState,
) -> Result<ApplicationRefund, Mismatch> {
    match state {
        ApplicationState::Done { refund, completion } if refund.batch_no == *batch_no => {
            let is_this = completion.confirmation.is_same(said);
            if is_this { Ok(refund.clone()) } else { Err(Mismatch::SecondTradeNo) }
        }
        _ => Err(Mismatch::Failed),
    }
}

/// What a confirmation that is on record has come to. It is never stored beside it: what else is on record says
/// it, and says it rightly whenever it is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It completed its refund.
    Completed,
    /// It is recorded, and its refund is not completed yet: sending it again does that.
    Pending,
    /// It completes nothing.
    Mismatched(Mismatch),
}

impl Standing {
    /// By all that is recorded under its batch number, the number's guard, and the state of the guard's application.
    pub fn of(
        said: &Confirmation,
        recorded: &[Confirmation],
        guard: Option<&BatchGuard>,
        state: Option<&ApplicationState>,
    ) -> Self {
        let told = judge_confirmation(said, guard).and_then(|guard| match state {
            Some(ApplicationState::Processing(refund)) if refund.batch_no == guard.refund.batch_no => {
                let is_first = completing(recorded, refund).is_none_or(|first| first.is_same(said));
                if is_first { Ok(None) } else { Err(Mismatch::SecondTradeNo) }
            }
            Some(state) => judge_completion(said, &guard.refund.batch_no, state).map(Some),
            None => Ok(None),
        });
        match told {
            Ok(Some(_)) => Self::Completed,
            Ok(None) => Self::Pending,
            Err(mismatch) => Self::Mismatched(mismatch),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::TenantKey;

    fn refund(batch_no: &str, amount: &str, account: &str) -> ApplicationRefund {
        let batch = BatchKey { merchant: TenantKey::new("epay", "m"), no: batch_no.parse().unwrap() };
        ApplicationRefund {
            id: RefundId::of(&batch),
            batch_no: batch.no,
            amount: amount.parse().unwrap(),
            account: account.parse().unwrap(),
            at: 1,
            invocation: "i".to_owned(),
        }
    }

    fn guard(id: i64, refund: ApplicationRefund) -> BatchGuard {
        let application = ApplicationKey { merchant: TenantKey::new("epay", "m"), id };
        BatchGuard { application, refund, failed_at: None }
    }

    fn confirmation(trade_no: &str, amount: &str) -> Confirmation {
        let (trade_no, amount) = (trade_no.parse().unwrap(), amount.parse().unwrap());
        Confirmation { trade_no, amount, at: 2, invocation: "j".to_owned() }
    }

    fn completion(trade_no: &str, amount: &str) -> Completion {
        Completion { confirmation: confirmation(trade_no, amount), at: 3, invocation: "k".to_owned() }
    }

    fn application(state: ApplicationState) -> Obstacle<Application> {
        let key = ApplicationKey { merchant: TenantKey::new("epay", "m"), id: 1 };
        let paid = "2.00".parse().unwrap();
        Obstacle::InTheWay(Application { key, order_no: "o".parse().unwrap(), paid, state, failures: None })
    }

    #[test]
    fn a_refused_begin_is_told_what_stood_in_its_way() {
        use ApplicationState::{Done, Processing, Requested, Withdrawn};
        let asked = guard(1, refund("B", "2", "a"));
        let done = |refund| Done { refund, completion: completion("T", "2") };
        let other = |batch_no: &str| refund(batch_no, "1", "a");
        let withdrawn = Withdrawn(Withdrawal { at: 1, reason: None, attempt: "a".to_owned() });
        let no = |text: &str| text.parse().unwrap();
        let (of_this, of_other) = (guard(1, refund("B", "2", "a")), guard(2, refund("B", "2", "a")));
        let failed = BatchGuard { failed_at: Some(9), ..of_this.clone() };
        let same = Some(Ok(refund("B", "2", "a")));
        let refused = |refusal| Some(Err(refusal));
        for (found, guard, told) in [
            (Obstacle::Absent, None, refused(BeginRefusal::UnknownApplication)),
            (Obstacle::Absent, Some(&of_other), refused(BeginRefusal::UnknownApplication)),
            (Obstacle::NotInTheWay, Some(&of_other), refused(BeginRefusal::BatchNoUsed)),
            (Obstacle::NotInTheWay, Some(&failed), refused(BeginRefusal::BatchNoFailed)),
            (Obstacle::NotInTheWay, Some(&of_this), None),
            (Obstacle::NotInTheWay, None, None),
            (application(Processing(refund("B", "2", "a"))), Some(&of_this), same.clone()),
            (application(Processing(refund("B", "2", "a"))), None, same.clone()),
            (application(done(refund("B", "2", "a"))), Some(&of_this), same),
            (application(Processing(other("B"))), Some(&of_this), refused(BeginRefusal::Different)),
            (application(Processing(refund("B", "2", "b"))), None, refused(BeginRefusal::Different)),
            (
                application(Processing(other("C"))),
                Some(&of_other),
                refused(BeginRefusal::Processing { batch_no: no("C") }),
            ),
            (application(done(other("C"))), None, refused(BeginRefusal::Done { batch_no: no("C") })),
            (application(withdrawn), None, refused(BeginRefusal::Withdrawn)),
            (application(Requested), None, None),
        ] {
            assert_eq!(judge_begin(&asked, &found, guard), told, "{found:?} {guard:?}");
        }
        let too_much = guard(1, refund("B", "2.01", "a"));
        let paid = "2".parse().unwrap();
        let told = judge_begin(&too_much, &application(Requested), None);
        assert_eq!(told, refused(BeginRefusal::AbovePaid { paid }));
    }

    #[test]
    fn a_confirmation_completes_only_the_refund_it_is_for_and_only_once() {
        let begun = refund("B", "2", "a");
        let guard = guard(1, begun.clone());
        let said = confirmation("T", "2.00");
        assert_eq!(judge_confirmation(&said, Some(&guard)), Ok(&guard));
        assert_eq!(judge_confirmation(&said, None), Err(Mismatch::UnknownBatchNo));
        let failed = BatchGuard { failed_at: Some(9), ..guard.clone() };
        assert_eq!(judge_confirmation(&said, Some(&failed)), Err(Mismatch::Failed));
        let less = confirmation("T", "1.99");
        assert_eq!(judge_confirmation(&less, Some(&guard)), Err(Mismatch::OtherAmount));

        let done = ApplicationState::Done { refund: begun.clone(), completion: completion("T", "2") };
        let batch_no = &begun.batch_no;
        assert_eq!(judge_completion(&said, batch_no, &done), Ok(begun.clone()));
        let second = confirmation("T2", "2");
        assert_eq!(judge_completion(&second, batch_no, &done), Err(Mismatch::SecondTradeNo));
        let later = ApplicationState::Processing(refund("C", "2", "a"));
        let withdrawn =
            ApplicationState::Withdrawn(Withdrawal { at: 1, reason: None, attempt: "a".to_owned() });
        for state in [ApplicationState::Requested, later, withdrawn] {
            assert_eq!(judge_completion(&said, batch_no, &state), Err(Mismatch::Failed), "{state:?}");
        }
    }

    #[test]
    fn a_confirmations_standing_follows_from_what_is_on_record() {
        let begun = refund("B", "2", "a");
        let guard = guard(1, begun.clone());
        let failed = BatchGuard { failed_at: Some(9), ..guard.clone() };
        let done = ApplicationState::Done { refund: begun.clone(), completion: completion("T", "2") };
        let processing = ApplicationState::Processing(begun);
        let (said, second, less) = (confirmation("T", "2"), confirmation("T2", "2"), confirmation("T", "1"));
        for (said, guard, state, standing) in [
            (&said, None, None, Standing::Mismatched(Mismatch::UnknownBatchNo)),
            (&said, Some(&guard), Some(&processing), Standing::Pending),
            (&second, Some(&guard), Some(&processing), Standing::Mismatched(Mismatch::SecondTradeNo)),
            (&said, Some(&guard), Some(&done), Standing::Completed),
            (&second, Some(&guard), Some(&done), Standing::Mismatched(Mismatch::SecondTradeNo)),
            (&less, Some(&guard), Some(&done), Standing::Mismatched(Mismatch::OtherAmount)),
            (
                &said,
                Some(&failed),
                Some(&ApplicationState::Requested),
                Standing::Mismatched(Mismatch::Failed),
            ),
        ] {
            let recorded = [less.clone(), confirmation("T", "2"), second.clone()];
            assert_eq!(Standing::of(said, &recorded, guard, state), standing, "{said:?} {guard:?} {state:?}");
        }
    }

    #[test]
    fn a_refunds_id_follows_from_its_batch_number_and_merchant() {
        let id = |merchant: &str, no: &str| {
            RefundId::of(&BatchKey { merchant: TenantKey::new("epay", merchant), no: no.parse().unwrap() })
        };
        assert_eq!(id("m", "B"), id("m", "B"));
        assert_ne!(id("m", "B"), id("m", "C"));
        assert_ne!(id("m", "B"), id("n", "B"));
        assert_eq!(id("m", "B").as_str().len(), 35);
    }
}
