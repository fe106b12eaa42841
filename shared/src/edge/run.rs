//! A function's life in a Lambda process: start once, answer one event after another.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_sdk_dynamodb::Client;
use futures::future::BoxFuture;
use lambda_http::lambda_runtime::{self, LambdaEvent};
use lambda_http::service_fn;
use serde::Serialize;
use serde_json::value::RawValue;

use super::{MalformedEvent, Request, Response, init_logging};
use crate::aws;
use crate::ledger::TenantKey;
use crate::store::{Deadline, Store};

/// One endpoint. It answers whatever it is asked, in its protocol's words; it never fails.
pub trait Function: Send + Sync + 'static {
    fn answer(
        &self,
        request: Result<Request, MalformedEvent>,
        invocation: Invocation,
    ) -> BoxFuture<'_, Response>;
}

/// One call of a function by its platform.
#[derive(Debug, Clone)]
pub struct Invocation {
    pub request_id: String,
    /// When the platform ends it.
    pub ends: SystemTime,
}

/// Answers one event, given as its JSON text.
pub async fn invoke(function: &dyn Function, event: &str, invocation: Invocation) -> Response {
    function.answer(Request::from_event(event), invocation).await
}

/// How long start-up waits for its first connection before it goes on without.
const WARM_UP_WITHIN: Duration = Duration::from_secs(3);

/// Runs the function that `make` makes until the platform stops it; `provider` is the prefix of the keys the
/// function may read.
///
/// # Errors
/// As [`start`] and [`serve`].
pub async fn run<F: Function>(
    provider: &'static str,
    make: impl FnOnce(Store) -> F,
) -> Result<(), lambda_runtime::Error> {
    answer_all(Arc::new(make(start(provider).await?))).await
}

/// Boxed, as what else is large: so it is made once, here, and not in every function.
fn answer_all(function: Arc<dyn Function>) -> BoxFuture<'static, Result<(), lambda_runtime::Error>> {
    Box::pin(serve(move |event, invocation| {
        let function = function.clone();
        async move { Ok(invoke(&*function, event.get(), invocation).await) }
    }))
}

/// Starts logging, and the table that `TABLE_NAME` names, with a connection that is ready. `DYNAMODB_ENDPOINT` names
/// another DynamoDB than that of the AWS settings.
///
/// # Errors
/// If the environment has no `TABLE_NAME`.
pub fn start(provider: &'static str) -> BoxFuture<'static, Result<Store, lambda_runtime::Error>> {
    Box::pin(start_up(provider))
}

async fn start_up(provider: &'static str) -> Result<Store, lambda_runtime::Error> {
    init_logging();
    let table = aws::variable("TABLE_NAME").ok_or("set TABLE_NAME to the name of the refunds' table")?;
    let settings = match aws::variable("DYNAMODB_ENDPOINT") {
        Some(endpoint) => aws::local(&endpoint),
        None => aws::of_function("DYNAMODB"),
    };
    let store = Store::new(Client::new(&settings), &table);

    // Init has the whole CPU, and the first TLS handshake is the dearest part of a cold start: make it
    // here, with a read of a tenant that does not exist.
    let warm_up = store.session(Deadline::after(WARM_UP_WITHIN));
    if let Err(error) = warm_up.settings(&TenantKey::new(provider, "")).await {
        tracing::warn!(%error, "no connection at start-up; requests will try again");
    }
    Ok(store)
}

/// Gives one event after another to `answer` until the platform stops it.
///
/// # Errors
/// If the platform's interface fails.
pub async fn serve<A, Answered>(
    answer: impl Fn(Box<RawValue>, Invocation) -> Answered,
) -> Result<(), lambda_runtime::Error>
where
    A: Serialize,
    Answered: Future<Output = Result<A, lambda_runtime::Error>>,
{
    lambda_runtime::run(service_fn(move |event: LambdaEvent<Box<RawValue>>| {
        let invocation = Invocation { ends: event.context.deadline(), request_id: event.context.request_id };
        answer(event.payload, invocation)
    }))
    .await
}
