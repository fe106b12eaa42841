//! eBET's `refundSingleWallet`: parse, authenticate, ask the ledger, answer.

mod answer;
mod request;

use std::time::SystemTime;

use shared::ebet::{
    ChannelId, Channels, Code, Fault, Members, Numbered, authenticate, channel_id, read_members,
};
use shared::edge::{Function, Invocation, MalformedEvent, Request, RequestLine, Response, log_request};
use shared::ledger::TenantKey;
use shared::store::{Deadline, Executed, RefundError, Session, Store};

use answer::Answer;
use request::SingleRefund;

/// The call's name in bodies.
pub const EVENT: &str = "refundSingleWallet";

/// The function, with what it keeps between requests.
#[derive(Debug)]
pub struct RefundSingleWallet {
    store: Store,
    channels: Channels,
}

/// What a request came to, with what its log line needs.
struct Outcome {
    answer: Answer,
    tenant: Option<TenantKey>,
    authenticated: bool,
    session: Option<String>,
    executed: Executed,
    cause: Option<String>,
}

impl RefundSingleWallet {
    pub fn new(store: Store) -> Self {
        Self { store, channels: Channels::default() }
    }

    async fn refund(&self, request: &Request, session: &Session) -> Outcome {
        let members = read_members(&request.body);
        let numbered = Numbered::of(members.as_ref().ok(), EVENT);
        let mut outcome = Outcome::refused(numbered, Code::BadParameters);
        let result = match members {
            Ok(members) => {
                outcome.tenant = channel_id(&members).ok().map(ChannelId::tenant);
                self.execute(&members, request, session, &mut outcome).await
            }
            Err(code) => Err(code.into()),
        };
        if let Err(fault) = result {
            outcome.answer.status = fault.code();
            if let Fault::Store(trouble) = fault {
                outcome.cause = Some(trouble.to_string());
            }
        }
        outcome
    }

    async fn execute(
        &self,
        members: &Members<'_>,
        request: &Request,
        session: &Session,
        outcome: &mut Outcome,
    ) -> Result<(), Fault> {
        let channel = authenticate(&self.channels, session, members, request.source_ip, |_, timestamp| {
            Ok(vec![request::signed_text(members, timestamp)?])
        })
        .await?;

        outcome.authenticated = true;
        let refund = SingleRefund::read(members, &channel)?;
        outcome.session.clone_from(&refund.session);
        match session.refund(&refund.asked).await {
            Ok(refunds) => {
                outcome.executed = refunds.executed;
                outcome.cause.clone_from(&refunds.cause);
                outcome.answer.fill(&refund, &refunds);
                Ok(())
            }
            Err(RefundError::KeyReused(reused)) => {
                outcome.cause = Some(reused.to_string());
                Err(Code::BadParameters.into())
            }
            Err(RefundError::Store { cause, executed }) => {
                outcome.executed = executed;
                Err(cause.into())
            }
        }
    }
}

impl Outcome {
    fn refused(numbered: Numbered, code: Code) -> Self {
        Self {
            answer: Answer::refused(numbered, code),
            tenant: None,
            authenticated: false,
            session: None,
            executed: Executed::No,
            cause: None,
        }
    }
}

impl Function for RefundSingleWallet {
    fn answer(
        &self,
        request: Result<Request, MalformedEvent>,
        invocation: Invocation,
    ) -> futures::future::BoxFuture<'_, Response> {
        Box::pin(async move {
            let arrived = request.as_ref().map_or_else(|_| SystemTime::now(), |request| request.arrived);
            let session = self.store.session(Deadline::of_request(arrived, invocation.ends));
            let outcome = match &request {
                Ok(request) => self.refund(request, &session).await,
                Err(malformed) => Outcome {
                    cause: Some(malformed.to_string()),
                    ..Outcome::refused(Numbered::of(None, EVENT), Code::BadParameters)
                },
            };
            log_request(&RequestLine {
                function: EVENT,
                request_id: &invocation.request_id,
                tenant: outcome.tenant.as_ref().map_or("", TenantKey::as_str),
                authenticated: outcome.authenticated,
                key: outcome.answer.seq_no(),
                outcome: outcome.answer.status.number(),
                items: outcome.answer.items(),
                session: outcome.session.as_deref(),
                executed: outcome.executed.as_str(),
                arrived,
                usage: session.usage(),
                cause: outcome.cause.as_deref(),
            });
            Response::json(outcome.answer.to_json())
        })
    }
}
