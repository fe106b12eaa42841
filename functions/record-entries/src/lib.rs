//! `POST /entries`: the operator's own systems say what happens to payments and balances, up to 25 entries a call, each
//! with an outcome of its own.

mod answer;
mod request;

use futures::future::BoxFuture;
use shared::clock;
use shared::edge::{
    Function, Invocation, Items, MalformedEvent, Request, RequestLine, Response, Trouble, counted,
    log_request,
};
use shared::entries::{Outcome, Recorder};
use shared::store::{Deadline, Executed, Session, Store};

use request::{Error, Said};

/// Entries that are named in the log.
const ENTRIES_LOGGED: usize = 5;

/// The function, with what it keeps between requests.
pub struct RecordEntries {
    store: Store,
    recorder: Recorder,
    /// On a developer's machine, where no gateway checks signatures.
    is_local: bool,
}

impl RecordEntries {
    pub fn new(store: Store) -> Self {
        // Set by the SAM CLI, and by nothing on Lambda.
        let is_local = std::env::var("AWS_SAM_LOCAL").is_ok_and(|value| value == "true");
        Self { store, recorder: Recorder::default(), is_local }
    }

    /// One outcome for each entry, in their order.
    async fn record(
        &self,
        request: &Request,
        session: &Session,
        executed: &mut Executed,
    ) -> Result<Vec<(Option<Said>, Outcome)>, Error> {
        if request.signer.is_none() && !self.is_local {
            return Err(Error::Unsigned);
        }
        let mut told = Vec::new();
        let (mut entries, mut said) = (Vec::new(), Vec::new());
        for read in request::read(&request.body)? {
            match read {
                Ok(entry) => {
                    told.push(None);
                    said.push(Said::of(&entry));
                    entries.push(entry);
                }
                Err(invalid) => told.push(Some((None, Outcome::Refused(invalid.into())))),
            }
        }
        let (outcomes, done) = self.recorder.record(session, &entries).await;
        *executed = done;
        let mut recorded = said.into_iter().map(Some).zip(outcomes);
        Ok(told.into_iter().filter_map(|unreadable| unreadable.or_else(|| recorded.next())).collect())
    }

    async fn call(&self, request: Result<Request, MalformedEvent>, invocation: Invocation) -> Response {
        let arrived = request.as_ref().map_or_else(|_| clock::now(), |request| request.arrived);
        let session = self.store.session(Deadline::of_request(arrived, invocation.ends));
        let mut executed = Executed::No;
        let result = match &request {
            Ok(request) => self.record(request, &session, &mut executed).await,
            Err(malformed) => Err(Error::Malformed(*malformed)),
        };
        let signer = request.as_ref().ok().and_then(|request| request.signer.as_deref());
        let response = answer::response(&result);
        let outcomes = result.as_deref().unwrap_or_default();
        let refused = counted(outcomes.iter().filter_map(|(_, outcome)| match outcome {
            Outcome::Refused(refusal) => Some(refusal.code()),
            _ => None,
        }));
        let undecided = outcomes.iter().filter_map(|(_, outcome)| match outcome {
            Outcome::Undecided(trouble) => Some(trouble),
            _ => None,
        });
        // What won't pass by itself is what operators need to know of.
        let worst = undecided.clone().find(|trouble| !trouble.passes()).or_else(|| undecided.clone().next());
        log_request(&RequestLine {
            function: "RecordEntries",
            request_id: &invocation.request_id,
            tenant: &named(outcomes, |said| said.tenant.to_string()),
            authenticated: signer.is_some() || self.is_local,
            signer,
            key: &named(outcomes, |said| format!("{} {}", said.kind, said.id)),
            outcome: response.status_code.into(),
            items: result.is_ok().then(|| Items {
                all: outcomes.len(),
                refused: &refused,
                undecided: undecided.clone().count(),
            }),
            session: None,
            last_start_process_time: None,
            executed: executed.as_str(),
            arrived,
            is_replay: executed == Executed::No
                && outcomes.iter().any(|(_, outcome)| matches!(outcome, Outcome::Unchanged(_))),
            usage: session.usage(),
            refunded: session.refunded(),
            trouble: worst.map_or(Trouble::None, Trouble::from),
            cause: worst.map(ToString::to_string).as_deref(),
            note: result.as_ref().err().map(Error::in_log).as_deref(),
        });
        response
    }
}

impl Function for RecordEntries {
    fn answer(
        &self,
        request: Result<Request, MalformedEvent>,
        invocation: Invocation,
    ) -> BoxFuture<'_, Response> {
        Box::pin(self.call(request, invocation))
    }
}

/// Names of the first entries, each once.
fn named(outcomes: &[(Option<Said>, Outcome)], name: impl Fn(&Said) -> String) -> String {
    let mut names: Vec<String> = Vec::new();
    for said in outcomes.iter().filter_map(|(said, _)| said.as_ref()).take(ENTRIES_LOGGED) {
        let name = name(said);
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names.join(", ")
}
