//! A function's life in a Lambda process: start once, answer one event after another.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures::future::BoxFuture;
use lambda_http::lambda_runtime::{self, LambdaEvent};
use lambda_http::service_fn;
use serde_json::value::RawValue;

use super::{MalformedEvent, Request, Response, init_logging};
use crate::ledger::TenantKey;
use crate::store::{self, Deadline, Store};

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

/// Runs the function that `make` makes until the platform stops it. The table's name comes from
/// `TABLE_NAME`; `provider` is the prefix of the keys the function may read.
///
/// # Errors
/// If the environment has no `TABLE_NAME`, or the platform's interface fails.
pub async fn run<F: Function>(
    provider: &'static str,
    make: impl FnOnce(Store) -> F,
) -> Result<(), lambda_runtime::Error> {
    init_logging();
    let table =
        std::env::var("TABLE_NAME").map_err(|_| "set TABLE_NAME to the name of the refunds' table")?;
    let store = Store::new(store::client(None).await, &table);

    // Init has the whole CPU, and the first TLS handshake is the dearest part of a cold start: make it
    // here, with a read of a tenant that does not exist.
    let warm_up = store.session(Deadline::after(WARM_UP_WITHIN));
    if let Err(error) = warm_up.settings(&TenantKey::new(provider, "")).await {
        tracing::warn!(%error, "no connection at start-up; requests will try again");
    }

    let function = Arc::new(make(store));
    lambda_runtime::run(service_fn(move |event: LambdaEvent<Box<RawValue>>| {
        let function = function.clone();
        async move {
            let invocation =
                Invocation { ends: event.context.deadline(), request_id: event.context.request_id };
            Ok::<_, lambda_runtime::Error>(invoke(&*function, event.payload.get(), invocation).await)
        }
    }))
    .await
}
