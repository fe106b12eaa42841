//! One of Ping++'s calls from the event to the answer: what all of them have in common.

use std::collections::HashMap;
use std::marker::PhantomData;

use futures::future::BoxFuture;
use serde_json::value::RawValue;

use super::authenticate::{Checked, Keys, authenticate};
use super::{ApiError, App, BatchObject};
use crate::clock;
use crate::edge::{
    Function, Invocation, MalformedEvent, Request, RequestLine, Response, Trouble, log_request,
};
use crate::ledger::{BatchState, ItemRefund, RefundBatch, RefundId};
use crate::store::{Deadline, Executed, Session, Store, StoreError};

/// What one call has of its own.
pub trait Call: Send + Sync + 'static {
    /// Its name in logs.
    const NAME: &'static str;

    /// Whether it changes anything; it only looks otherwise.
    const EXECUTES: bool;

    /// Carries out a request whose key is good, and whose signature any of its apps believes: the answer's JSON.
    fn carry_out(
        request: &Request,
        caller: &Checked<'_>,
        session: &Session,
        report: &mut Report,
    ) -> impl Future<Output = Result<String, ApiError>> + Send;
}

/// What operators want to know of a request beside its answer.
#[derive(Debug)]
pub struct Report {
    pub tenant: String,
    /// The batch's number, or its id.
    pub key: String,
    pub executed: Executed,
}

/// The function that answers a call, with what it keeps between requests.
pub struct Endpoint<C> {
    store: Store,
    keys: Keys,
    call: PhantomData<C>,
}

impl<C: Call> Endpoint<C> {
    pub fn new(store: Store) -> Self {
        Self { store, keys: Keys::default(), call: PhantomData }
    }

    async fn execute(
        &self,
        request: &Request,
        session: &Session,
        is_authenticated: &mut bool,
        report: &mut Report,
    ) -> Result<String, ApiError> {
        let caller = authenticate(&self.keys, session, &request.headers).await?;
        let checked = caller.check_signature(request, clock::now())?;
        *is_authenticated = true;
        C::carry_out(request, &checked, session, report).await
    }

    async fn call(&self, request: Result<Request, MalformedEvent>, invocation: Invocation) -> Response {
        let arrived = request.as_ref().map_or_else(|_| clock::now(), |request| request.arrived);
        let session = self.store.session(Deadline::of_request(arrived, invocation.ends));
        let mut report = Report { tenant: String::new(), key: String::new(), executed: Executed::No };
        let mut authenticated = false;
        let result = match &request {
            Ok(request) => self.execute(request, &session, &mut authenticated, &mut report).await,
            Err(malformed) => Err(ApiError::unreadable(format!("The request is malformed: {malformed}."))),
        };
        let error = result.as_ref().err();
        log_request(&RequestLine {
            function: C::NAME,
            request_id: &invocation.request_id,
            tenant: &report.tenant,
            authenticated,
            signer: None,
            key: &report.key,
            outcome: error.map_or(200, |error| error.kind.status().into()),
            items: None,
            session: None,
            last_start_process_time: None,
            executed: report.executed.as_str(),
            arrived,
            is_replay: C::EXECUTES && error.is_none() && report.executed == Executed::No,
            usage: session.usage(),
            refunded: session.refunded(),
            trouble: error.map_or(Trouble::None, |error| error.trouble),
            cause: error.and_then(|error| error.cause.as_deref()),
            note: error.and_then(|error| error.param.as_deref()),
        });
        match result {
            Ok(body) => Response::json(body),
            Err(error) => error.response(),
        }
    }
}

impl<C: Call> Function for Endpoint<C> {
    fn answer(
        &self,
        request: Result<Request, MalformedEvent>,
        invocation: Invocation,
    ) -> BoxFuture<'_, Response> {
        Box::pin(self.call(request, invocation))
    }
}

/// A batch as its merchant sees it.
///
/// # Errors
/// If its refunds can't be read.
pub async fn shown(session: &Session, app: &App, batch: &RefundBatch) -> Result<Box<RawValue>, ApiError> {
    let refunds = told_refunds(session, batch).await?;
    Ok(object(app, batch, &refunds, true)?)
}

/// What a merchant is told of a batch's refunds.
///
/// # Errors
/// If they can't be read.
pub async fn told_refunds(
    session: &Session,
    batch: &RefundBatch,
) -> Result<HashMap<RefundId, ItemRefund>, StoreError> {
    match batch.state {
        // Nothing is on record before channels were asked.
        BatchState::Creating | BatchState::Created | BatchState::Void => Ok(HashMap::new()),
        BatchState::Settling | BatchState::Ended { .. } => session.refunds_of(batch).await,
    }
}

/// A batch with its refunds, or with where they are to be had instead.
///
/// # Errors
/// If the ledger has something of it that it never wrote.
pub fn object(
    app: &App,
    batch: &RefundBatch,
    refunds: &HashMap<RefundId, ItemRefund>,
    with_refunds: bool,
) -> Result<Box<RawValue>, StoreError> {
    let damaged = |error: serde_json::Error| StoreError::Damaged {
        key: batch.key.path(),
        what: format!("it can't be shown: {error}"),
    };
    let metadata = RawValue::from_string(batch.metadata.clone()).map_err(damaged)?;
    let object = BatchObject::new(app.id.as_str(), app.mode.is_live(), batch, refunds, &metadata);
    let object = if with_refunds { object } else { object.without_refunds() };
    serde_json::value::to_raw_value(&object).map_err(damaged)
}
