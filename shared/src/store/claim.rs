//! The claim of a request's key, where parts of the request are carried out at the same time: no part moves
//! money before the key is known to be this request's and no other's.
//!
//! The leading part's first transaction puts the request's record, so the claim costs nothing of its own. The
//! others read meanwhile. If the leading part has nothing to write, or is held up, whoever needs the claim
//! first puts the record by itself.

use tokio::sync::{Mutex, OnceCell, watch};
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
    state: watch::Sender<State>,
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
            state: watch::Sender::new(State::Expected),
            turn: Mutex::default(),
            is_not_anothers: OnceCell::new(),
        }
    }

    /// The leading part has found the key to be this request's, or made it so.
    pub(super) fn hold(&self) {
        self.state.send_replace(State::Known { is_ours: true });
    }

    /// The leading part won't claim the key, or not soon.
    pub(super) fn leave(&self) {
        self.state.send_if_modified(|state| {
            let is_expected = *state == State::Expected;
            if is_expected {
                *state = State::Left;
            }
            is_expected
        });
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
        let mut state = self.state.subscribe();
        let _ = timeout_at(patience, state.wait_for(|state| *state != State::Expected)).await;
        *self.state.borrow()
    }

    /// Returns once the key is this request's.
    ///
    /// # Errors
    /// If it is another's, or that can't be known in time.
    pub(super) async fn make_sure(&self, session: &Session) -> Result<(), Stop> {
        self.leading_parts(session).await;
        let mut state = self.state.subscribe();
        let becomes_known = async {
            let _ = state.wait_for(|state| matches!(state, State::Known { .. })).await;
        };
        // Whichever comes first: the leading part's record, or one that is put by itself.
        tokio::select! {
            biased;
            () = becomes_known => {}
            put = self.put(session) => put?,
        }
        match *self.state.borrow() {
            State::Known { is_ours: true } => Ok(()),
            _ => Err(KeyReused.into()),
        }
    }

    /// Puts the record, unless what that would tell is known meanwhile.
    async fn put(&self, session: &Session) -> Result<(), StoreError> {
        let _turn = self.turn.lock().await;
        if !matches!(*self.state.borrow(), State::Known { .. }) {
            let is_ours = session.claim(self.leading).await?;
            self.state.send_replace(State::Known { is_ours });
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
