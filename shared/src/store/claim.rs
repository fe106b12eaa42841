//! The claim of a request's key, where parts of the request are carried out at the same time: no part moves
//! money before the key is known to be this request's and no other's.
//!
//! The leading part's first transaction puts the request's record, so the claim costs nothing of its own. The
//! others read meanwhile. If the leading part has nothing to write, or is held up, whoever needs the claim
//! first puts the record by itself.

use std::sync::{self, PoisonError};

use tokio::sync::{Mutex, Notify, OnceCell};
use tokio::time::{Instant, timeout_at};

use super::error::Stop;
use super::items::{self, Reader};
use super::{Session, StoreError};
use crate::clock;
use crate::ledger::{KeyReused, RefundRequest, RequestRecord};
use crate::limits;

#[derive(Debug)]
pub(super) struct Claim<'a> {
    leading: &'a RefundRequest,
    state: sync::Mutex<State>,
    /// Wakes who waits for another state in the order in which they came; a watch channel has no order.
    changed: Notify,
    /// Of putting the record: one part does so for all.
    turn: Mutex<()>,
    /// Whether the key was found free, or this request's, by a read that claims nothing.
    is_not_anothers: OnceCell<bool>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The leading part is about to claim the key.
    Expected,
    /// It is left to whoever needs it first.
    Left,
    Known {
        is_ours: bool,
    },
}

impl<'a> Claim<'a> {
    pub(super) fn new(leading: &'a RefundRequest) -> Self {
        Self {
            leading,
            state: sync::Mutex::new(State::Expected),
            changed: Notify::new(),
            turn: Mutex::default(),
            is_not_anothers: OnceCell::new(),
        }
    }

    /// The leading part has found the key to be this request's, or made it so.
    pub(super) fn hold(&self) {
        self.become_known(true);
    }

    fn become_known(&self, is_ours: bool) {
        *self.lock() = State::Known { is_ours };
        self.changed.notify_waiters();
    }

    /// The leading part won't claim the key, or not soon.
    pub(super) fn leave(&self) {
        let mut state = self.lock();
        if *state == State::Expected {
            *state = State::Left;
            self.changed.notify_waiters();
        }
    }

    fn lock(&self) -> sync::MutexGuard<'_, State> {
        // A state is whole, whoever panics.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for such a state.
    async fn until(&self, is_such: impl Fn(State) -> bool) -> State {
        loop {
            // From here on no change is missed.
            let changed = self.changed.notified();
            let state = *self.lock();
            if is_such(state) {
                return state;
            }
            changed.await;
        }
    }

    /// Returns if the key is not another's, and claims nothing.
    ///
    /// # Errors
    /// If it is another's, or that can't be known in time.
    pub(super) async fn check(&self, session: &Session) -> Result<(), Stop> {
        let state = self.leading_parts(session).await;
        let is_not_anothers = match state {
            State::Known { is_ours } => is_ours,
            State::Expected | State::Left => {
                *self.is_not_anothers.get_or_try_init(|| session.is_not_anothers(self.leading)).await?
            }
        };
        if is_not_anothers { Ok(()) } else { Err(KeyReused.into()) }
    }

    /// What the leading part has found out, or is still expected to, in a short while.
    async fn leading_parts(&self, session: &Session) -> State {
        let patience = (Instant::now() + limits::CLAIM_PATIENCE).min(session.deadline.instant());
        let known = timeout_at(patience, self.until(|state| state != State::Expected)).await;
        known.unwrap_or_else(|_| *self.lock())
    }

    /// Returns once the key is this request's.
    ///
    /// # Errors
    /// If it is another's, or that can't be known in time.
    pub(super) async fn make_sure(&self, session: &Session) -> Result<(), Stop> {
        self.leading_parts(session).await;
        // Whichever comes first: the leading part's record, or one that is put by itself.
        tokio::select! {
            biased;
            _ = self.until(|state| matches!(state, State::Known { .. })) => {}
            put = self.put(session) => put?,
        }
        match *self.lock() {
            State::Known { is_ours: true } => Ok(()),
            _ => Err(KeyReused.into()),
        }
    }

    /// Puts the record, unless what that would tell is known meanwhile.
    async fn put(&self, session: &Session) -> Result<(), StoreError> {
        let _turn = self.turn.lock().await;
        let state = *self.lock();
        if !matches!(state, State::Known { .. }) {
            self.become_known(session.claim(self.leading).await?);
        }
        Ok(())
    }
}

impl Session {
    /// Whether there is no record under the key of `request`, or its own.
    async fn is_not_anothers(&self, request: &RefundRequest) -> Result<bool, StoreError> {
        let record = self.read_item(items::request_key(request)).await?;
        let record = record.map(|item| Reader::new(&item).record()).transpose()?;
        Ok(record.is_none_or(|record| record.fingerprint == request.fingerprint))
    }

    /// Puts the record of `request` if there is none; whether it is this request's now.
    async fn claim(&self, request: &RefundRequest) -> Result<bool, StoreError> {
        let record = RequestRecord { fingerprint: request.fingerprint, version: 1, refused: [].into() };
        let item = items::record_item(request, &record, clock::unix_now());
        match self.put_new(item).await? {
            None => Ok(true),
            Some(existing) => Ok(Reader::new(&existing).record()?.fingerprint == request.fingerprint),
        }
    }
}
