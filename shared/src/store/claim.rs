//! The claim of a request's key, where parts of the request are carried out at the same time: no part moves
//! money before the key is known to be this request's and no other's.
//!
//! The leading part's first transaction puts the request's record, so the claim costs nothing of its own. The
//! others read meanwhile. If the leading part has nothing to write, or is held up, whoever needs the claim
//! first puts the record by itself.

use std::time::SystemTime;

use tokio::sync::{OnceCell, watch};
use tokio::time::{Instant, timeout_at};

use super::error::Stop;
use super::items::{self, Reader};
use super::{Session, StoreError};
use crate::clock::unix_milliseconds;
use crate::ledger::{KeyReused, RefundRequest, RequestRecord};
use crate::limits;

#[derive(Debug)]
pub(super) struct Claim<'a> {
    leading: &'a RefundRequest,
    /// Whether the key is this request's, once that is known.
    is_ours: OnceCell<bool>,
    /// Whether the leading part need not be waited for any more.
    is_settled: watch::Sender<bool>,
}

impl<'a> Claim<'a> {
    pub(super) fn new(leading: &'a RefundRequest) -> Self {
        Self { leading, is_ours: OnceCell::new(), is_settled: watch::Sender::new(false) }
    }

    /// The leading part has found the key to be this request's, or made it so.
    pub(super) fn hold(&self) {
        // If another part is asking just now, it finds the same.
        let _ = self.is_ours.set(true);
        self.leave();
    }

    /// The leading part won't claim the key, or not soon.
    pub(super) fn leave(&self) {
        self.is_settled.send_replace(true);
    }

    /// Returns once the key is this request's.
    ///
    /// # Errors
    /// If it is another's, or that can't be known in time.
    pub(super) async fn make_sure(&self, session: &Session) -> Result<(), Stop> {
        let patience = (Instant::now() + limits::CLAIM_PATIENCE).min(session.deadline.instant());
        let _ = timeout_at(patience, self.is_settled.subscribe().wait_for(|is_settled| *is_settled)).await;
        // One part asks for all.
        let is_ours = self.is_ours.get_or_try_init(|| session.claim(self.leading)).await?;
        if *is_ours { Ok(()) } else { Err(KeyReused.into()) }
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
