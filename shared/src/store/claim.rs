//! The claim of a request's key, where parts of the request are carried out at the same time: no part moves
//! money before the key is known to be this request's and no other's.
//!
//! The leading part's first transaction puts the request's record, so the claim costs nothing of its own. The
//! others read meanwhile. If the leading part has nothing to write, or is held up, whoever needs the claim
//! first puts the record by itself.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use tokio::sync::{Mutex, watch};
use tokio::time::{Instant, timeout_at};

use super::items::{self, Reader};
use super::refund::Stop;
use super::{Session, StoreError};
use crate::clock::unix_milliseconds;
use crate::ledger::{KeyReused, RefundRequest, RequestRecord};
use crate::limits;

#[derive(Debug)]
pub(super) struct Claim<'a> {
    leading: &'a RefundRequest,
    state: watch::Sender<State>,
    /// Of putting the record: one part does so for all.
    turn: Mutex<()>,
    /// Whether anything was found to be done by an earlier attempt.
    was_sent_before: AtomicBool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The leading part is about to make it.
    Expected,
    /// It is left to whoever needs it first.
    Left,
    Held,
}

impl<'a> Claim<'a> {
    pub(super) fn new(leading: &'a RefundRequest) -> Self {
        Self {
            leading,
            state: watch::Sender::new(State::Expected),
            turn: Mutex::default(),
            was_sent_before: AtomicBool::new(false),
        }
    }

    /// The key is known to be this request's.
    pub(super) fn hold(&self) {
        self.state.send_replace(State::Held);
    }

    /// The leading part won't make it, or not soon.
    pub(super) fn leave(&self) {
        self.state.send_if_modified(|state| {
            let is_expected = *state == State::Expected;
            if is_expected {
                *state = State::Left;
            }
            is_expected
        });
    }

    /// An earlier attempt is found to have done something.
    pub(super) fn note_resent(&self) {
        self.was_sent_before.store(true, Ordering::Relaxed);
    }

    pub(super) fn was_sent_before(&self) -> bool {
        self.was_sent_before.load(Ordering::Relaxed)
    }

    /// Returns once the key is this request's.
    ///
    /// # Errors
    /// If it is another's, or that can't be known in time.
    pub(super) async fn make_sure(&self, session: &Session) -> Result<(), Stop> {
        let patience = (Instant::now() + limits::CLAIM_PATIENCE).min(session.deadline.instant());
        let mut state = self.state.subscribe();
        let _ = timeout_at(patience, state.wait_for(|state| *state != State::Expected)).await;
        if *self.state.borrow() == State::Held {
            return Ok(());
        }
        let _turn = self.turn.lock().await;
        if *self.state.borrow() == State::Held {
            return Ok(());
        }
        if !session.claim(self.leading).await? {
            return Err(KeyReused.into());
        }
        self.hold();
        Ok(())
    }
}

impl Session {
    /// Puts the record of `request` if there is none; whether it is this request's now.
    async fn claim(&self, request: &RefundRequest) -> Result<bool, StoreError> {
        let record = RequestRecord { fingerprint: request.fingerprint, version: 1, refused: [].into() };
        let item = items::record_item(request, &record, unix_milliseconds(SystemTime::now()));
        match self.put_new(item).await? {
            None => Ok(true),
            Some(existing) => Ok(Reader::new(&existing).record()?.fingerprint == request.fingerprint),
        }
    }
}
