//! One of EPay's calls from the event to the answer: what all of them have in common.

use std::marker::PhantomData;

use futures::future::BoxFuture;
use http::HeaderMap;
use http::header::{ACCEPT, CONTENT_TYPE, HeaderName};

use super::authenticate::{Merchants, authenticate};
use super::codec::{self, Answer, AnswerType, BodyType, Field, Unreadable, XmlRoot};
use super::{Errcode, Members, Merchant, OperationResult, Refusal};
use crate::clock;
use crate::edge::{
    Function, Invocation, MalformedEvent, Request, RequestLine, Response, Trouble, log_request,
};
use crate::store::{Deadline, Executed, Session, Store};

/// What one call has of its own.
pub trait Call: Send + Sync + 'static {
    /// Its name in logs.
    const NAME: &'static str;

    /// Of a request in XML.
    const ROOT: XmlRoot;

    /// Carries out an authenticated request: the answer's `tag`. `invocation` is put on record with what it does.
    fn carry_out(
        members: &Members,
        merchant: &Merchant,
        invocation: &str,
        session: &Session,
        report: &mut Report,
    ) -> impl Future<Output = Result<String, Refusal>> + Send;
}

/// What operators want to know of a request beside its answer.
#[derive(Debug)]
pub struct Report {
    /// The request's batch number.
    pub key: String,
    pub executed: Executed,
}

/// The function that answers a call, with what it keeps between requests.
pub struct Endpoint<C> {
    store: Store,
    merchants: Merchants,
    call: PhantomData<C>,
}

impl<C: Call> Endpoint<C> {
    pub fn new(store: Store) -> Self {
        Self { store, merchants: Merchants::default(), call: PhantomData }
    }

    /// As far as it gets: the answer's tag.
    async fn execute(
        &self,
        request: &Request,
        invocation: &Invocation,
        session: &Session,
        tenant: &mut String,
        report: &mut Report,
    ) -> Result<String, Refusal> {
        let merchant = authenticate(&self.merchants, session, &request.headers).await?;
        *tenant = merchant.id.tenant().to_string();
        if !merchant.enabled {
            return Err(Refusal::Disabled);
        }
        let content_type = header(&request.headers, CONTENT_TYPE);
        let members = codec::read(content_type.as_deref(), &request.body, &C::ROOT)?;
        C::carry_out(&members, &merchant, &invocation.request_id, session, report).await
    }

    async fn call(&self, request: Result<Request, MalformedEvent>, invocation: Invocation) -> Response {
        let arrived = request.as_ref().map_or_else(|_| clock::now(), |request| request.arrived);
        let session = self.store.session(Deadline::of_request(arrived, invocation.ends));
        let mut tenant = String::new();
        let mut report = Report { key: String::new(), executed: Executed::No };
        let (answer_type, result) = match &request {
            Ok(request) => {
                let result = self.execute(request, &invocation, &session, &mut tenant, &mut report).await;
                (answer_type(&request.headers), result)
            }
            Err(malformed) => (AnswerType::ApplicationJson, Err(Unreadable::from(*malformed).into())),
        };
        let refusal = result.as_ref().err();
        log_request(&RequestLine {
            function: C::NAME,
            request_id: &invocation.request_id,
            tenant: &tenant,
            authenticated: !tenant.is_empty(),
            signer: None,
            key: &report.key,
            outcome: refusal.map_or(Errcode::Ok, Refusal::errcode).number(),
            items: None,
            session: None,
            last_start_process_time: None,
            executed: report.executed.as_str(),
            arrived,
            is_replay: result.is_ok() && report.executed == Executed::No,
            usage: session.usage(),
            refunded: session.refunded(),
            trouble: refusal.map_or(Trouble::None, Refusal::trouble),
            cause: refusal.and_then(Refusal::cause).as_deref(),
            note: refusal.and_then(Refusal::note).as_deref(),
        });
        answer(answer_type, result)
    }
}

/// The type of the answer that a request with these headers gets.
fn answer_type(headers: &HeaderMap) -> AnswerType {
    let own = header(headers, CONTENT_TYPE).as_deref().and_then(BodyType::of);
    AnswerType::choose(header(headers, ACCEPT).as_deref(), own)
}

/// A header's values, joined as one.
fn header(headers: &HeaderMap, name: HeaderName) -> Option<String> {
    let mut values = headers.get_all(name).iter();
    let first = String::from_utf8_lossy(values.next()?.as_bytes()).into_owned();
    Some(
        values
            .fold(first, |joined, value| format!("{joined}, {}", String::from_utf8_lossy(value.as_bytes()))),
    )
}

fn answer(answer_type: AnswerType, result: Result<String, Refusal>) -> Response {
    let http_status = result.as_ref().err().map_or(200, Refusal::http_status);
    if let Err(Refusal::Unreadable(Unreadable::UnsupportedType(name))) = &result {
        let message = format!("The request entity's media type '{name}' is not supported for this resource.");
        let root = XmlRoot { name: Some("Error"), namespace: None };
        let members = vec![("Message", Field::Text(&message))];
        return codec::write(http_status, answer_type, &Answer { root, members });
    }
    let result = match result {
        Ok(tag) => OperationResult::done(tag),
        Err(refusal) => OperationResult::refused(&refusal),
    };
    codec::write(http_status, answer_type, &result.answer())
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
