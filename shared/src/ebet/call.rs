//! One of eBET's calls from the event to the answer: what all of them have in common.

use std::marker::PhantomData;

use futures::future::BoxFuture;

use super::authenticate::{authenticate, channel_id};
use super::{Channel, ChannelId, Channels, Code, Fault, Members, Numbered, read_members};
use crate::clock;
use crate::edge::{
    Function, Invocation, Items, MalformedEvent, Request, RequestLine, Response, Trouble, counted,
    log_request,
};
use crate::ledger::{TenantKey, Verdict};
use crate::store::{Deadline, Executed, Session, Store, StoreError};

/// What one call has of its own.
pub trait Call: Send + Sync + 'static {
    /// Its name in bodies.
    const EVENT: &'static str;

    /// What only a request that reached the ledger is told.
    type Told: Send;

    /// The texts that a signature may be over, for this channel and the timestamp's own text; any one of
    /// them will do.
    ///
    /// # Errors
    /// For what is wrong with a member that is signed.
    fn signed_texts(
        members: &Members<'_>,
        channel: &Channel,
        timestamp: &str,
    ) -> Result<impl Iterator<Item = String>, Code>;

    /// Carries out an authenticated request: its status, and what it is told.
    fn refund(
        members: &Members<'_>,
        channel: &Channel,
        session: &Session,
        report: &mut Report,
    ) -> impl Future<Output = Result<(Code, Self::Told), Fault>> + Send;

    /// The answer's body. A request that went no further than its status is told nothing else.
    fn to_json(status: Code, numbered: &Numbered, told: Option<&Self::Told>) -> String;
}

/// What operators want to know of a request beside its answer.
#[derive(Debug)]
pub struct Report {
    /// The caller's session token, hashed.
    pub session: Option<String>,
    /// When the caller began to look for what failed, in Unix milliseconds, as it says.
    pub last_start_process_time: Option<i64>,
    pub items: usize,
    /// Items that are refunded, now or before.
    pub refunded: usize,
    /// Refusals by their reason.
    pub refused: String,
    /// Items that are neither refunded nor refused.
    pub undecided: usize,
    pub executed: Executed,
    /// What stood in the way.
    pub cause: Option<String>,
    pub trouble: Trouble,
    /// What is odd about the request, and refuses nothing.
    pub note: Option<String>,
}

impl Report {
    fn new() -> Self {
        Self {
            session: None,
            last_start_process_time: None,
            items: 0,
            refunded: 0,
            refused: String::new(),
            undecided: 0,
            executed: Executed::No,
            cause: None,
            trouble: Trouble::None,
            note: None,
        }
    }

    /// Takes in that the table could not be used as it should.
    pub fn take_trouble(&mut self, trouble: &StoreError) {
        self.cause = Some(trouble.to_string());
        self.trouble = trouble.into();
    }

    /// Takes in what became of the items.
    pub fn take_verdicts<'a>(&mut self, verdicts: impl Iterator<Item = &'a Verdict>) {
        let mut refused = Vec::new();
        for verdict in verdicts {
            self.items += 1;
            match verdict {
                Verdict::Refunded(_) => self.refunded += 1,
                Verdict::Due => self.undecided += 1,
                Verdict::Refused(refusal) => refused.push(refusal.as_str()),
            }
        }
        self.refused = counted(refused);
    }
}

/// The function that answers a call, with what it keeps between requests.
pub struct Endpoint<C> {
    store: Store,
    channels: Channels,
    call: PhantomData<C>,
}

impl<C: Call> Endpoint<C> {
    pub fn new(store: Store) -> Self {
        Self { store, channels: Channels::default(), call: PhantomData }
    }

    /// As far as it gets: the answer's status, and what else the request is told.
    async fn execute(
        &self,
        request: &Request,
        members: &Members<'_>,
        session: &Session,
        caller: &mut Caller,
        report: &mut Report,
    ) -> Result<(Code, C::Told), Fault> {
        caller.tenant = channel_id(members).ok().map(ChannelId::tenant);
        let channel = authenticate::<C>(&self.channels, session, members, request.source_ip).await?;
        caller.authenticated = true;
        C::refund(members, &channel, session, report).await
    }

    async fn call(&self, request: Result<Request, MalformedEvent>, invocation: Invocation) -> Response {
        let arrived = request.as_ref().map_or_else(|_| clock::now(), |request| request.arrived);
        let session = self.store.session(Deadline::of_request(arrived, invocation.ends));
        let mut caller = Caller::default();
        let mut report = Report::new();
        let mut numbered = Numbered::of(None, C::EVENT);
        let result = match &request {
            Ok(request) => match read_members(&request.body) {
                Ok(members) => {
                    numbered = Numbered::of(Some(&members), C::EVENT);
                    self.execute(request, &members, &session, &mut caller, &mut report).await
                }
                Err(code) => Err(code.into()),
            },
            Err(malformed) => {
                report.cause = Some(malformed.to_string());
                Err(Code::BadParameters.into())
            }
        };
        let (status, told) = match result {
            Ok((status, told)) => (status, Some(told)),
            Err(fault) => {
                if let Fault::Store(trouble) = &fault {
                    report.take_trouble(trouble);
                }
                (fault.code(), None)
            }
        };
        log_request(&RequestLine {
            function: C::EVENT,
            request_id: &invocation.request_id,
            tenant: caller.tenant.as_ref().map_or("", TenantKey::as_str),
            authenticated: caller.authenticated,
            signer: None,
            key: &numbered.seq_no,
            outcome: status.number().into(),
            items: Some(Items { all: report.items, refused: &report.refused, undecided: report.undecided }),
            session: report.session.as_deref(),
            last_start_process_time: report.last_start_process_time,
            executed: report.executed.as_str(),
            arrived,
            is_replay: report.refunded > 0 && report.undecided == 0 && report.executed == Executed::No,
            usage: session.usage(),
            refunded: session.refunded(),
            trouble: report.trouble,
            cause: report.cause.as_deref(),
            note: report.note.as_deref(),
        });
        Response::json(C::to_json(status, &numbered, told.as_ref()))
    }
}

/// Who calls, as far as it is known.
#[derive(Default)]
struct Caller {
    tenant: Option<TenantKey>,
    authenticated: bool,
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
