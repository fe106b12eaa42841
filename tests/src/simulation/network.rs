//! The network between a process and the table: calls take their time, some go wrong, and some of the processes that made
//! them do not live to see the answer. A call that was sent arrives whatever becomes of its sender.

use std::fmt;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use aws_smithy_runtime_api::client::http::{HttpConnector, HttpConnectorFuture};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use serde_json::{Value, json};
use shared::clock::milliseconds;
use tokio::sync::oneshot;

use super::Simulation;
use super::platform::Life;
use super::weather::{FROZEN_MAX, Fate, Fault};
use crate::embedded::{Answered, is_write, operation, response};
use crate::wire::leave_keys;

/// What goes wrong by a plan, not by chance.
#[derive(Debug, Clone, Copy, Default)]
pub struct Script {
    dies_at: Option<(usize, Fault)>,
    /// Calls that were made.
    pub made: usize,
}

impl Script {
    /// Whoever makes the call of this number dies of it so.
    pub fn dies_at(call: usize, death: Fault) -> Self {
        Self { dies_at: Some((call, death)), made: 0 }
    }

    pub fn next(&mut self) -> Option<Fault> {
        let made = self.made;
        self.made += 1;
        self.dies_at.filter(|(call, _)| *call == made).map(|(_, death)| death)
    }
}

/// What one process reaches the table by.
#[derive(Clone)]
pub struct Network {
    pub simulation: Arc<Simulation>,
    pub life: Arc<Life>,
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Network")
    }
}

impl HttpConnector for Network {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let network = self.clone();
        HttpConnectorFuture::new(async move { network.pass_on(&request).await })
    }
}

impl Network {
    async fn pass_on(&self, request: &HttpRequest) -> Result<HttpResponse, ConnectorError> {
        let operation = operation(request).to_owned();
        let asked = String::from_utf8_lossy(request.body().bytes().unwrap_or_default()).into_owned();
        let fate = self.simulation.fate(&operation, &asked);
        self.simulation.count_call(&self.life.name, &operation, &fate);
        if fate.fault == Some(Fault::DeathBefore) {
            self.life.end();
            return pending().await;
        }
        let (sender, answer) = oneshot::channel::<Answered>();
        let network = self.clone();
        let fault = fate.fault;
        let delivery = async move {
            let Fate { ways: [there, back], .. } = fate;
            tokio::time::sleep(there).await;
            // Of what can go wrong in two ways, which: it follows from how long the call was on its way.
            let is_other = there.as_millis() % 2 == 1;
            let answer = match fault {
                Some(Fault::LostRequest) => {
                    network.retry_blindly(&operation, &asked);
                    return hang_or_fail(&network, sender).await;
                }
                Some(Fault::Throttle) if is_other && is_single_write(&operation) => {
                    failure(400, "TransactionConflictException", Value::Null)
                }
                Some(Fault::Throttle) => failure(400, "ProvisionedThroughputExceededException", Value::Null),
                Some(Fault::InternalError) => {
                    // Who hears of one can't know what was done.
                    if is_other {
                        network.simulation.carry_out(&network.life, &operation, &asked);
                    }
                    failure(500, "InternalServerError", Value::Null)
                }
                Some(Fault::TransactionConflict) => {
                    failure(400, "TransactionCanceledException", conflicts(&asked, there))
                }
                Some(Fault::StaleIndex) => network.simulation.stale_index(&asked),
                Some(Fault::UnprocessedKeys) => network.some_keys(&asked),
                Some(Fault::TornRead) => network.torn(&asked).await,
                Some(Fault::SeenInParts) => network.in_parts(&asked).await,
                _ => network.simulation.carry_out(&network.life, &operation, &asked),
            };
            tokio::time::sleep(back).await;
            match fault {
                Some(Fault::LostAnswer) => {
                    network.retry_blindly(&operation, &asked);
                    hang_or_fail(&network, sender).await;
                }
                Some(Fault::DeathAfter) => network.life.end(),
                _ if answer.0 == 200 && is_other && network.simulation.leaves_half(&asked) => {
                    network.life.end();
                }
                // Nobody may be there to hear it.
                _ => drop(sender.send(answer)),
            }
        };
        self.simulation.spawn(delivery);
        if fault == Some(Fault::DeathDuring) {
            self.life.end();
            return pending().await;
        }
        match answer.await {
            Ok((status, body)) => Ok(response(status, body)),
            Err(_) if self.life.has_ended() => pending().await,
            Err(_) => Err(ConnectorError::io("the connection broke".into())),
        }
    }

    /// What a mutant makes of a call whose answer nobody hears: it arrives once more.
    fn retry_blindly(&self, operation: &str, asked: &str) {
        let simulation = self.simulation.clone();
        let Some(again) = simulation.mutant.as_ref().and_then(|mutant| mutant.blindly(operation, asked))
        else {
            return;
        };
        let (life, operation) = (self.life.clone(), operation.to_owned());
        // What a transaction came to that was sent before is told again, whatever is there now.
        let mut asked: Value = serde_json::from_str(asked).expect("a call is JSON");
        asked.as_object_mut().and_then(|asked| asked.remove("ClientRequestToken"));
        self.simulation.spawn(async move {
            let most = if simulation.chance(400) { milliseconds(FROZEN_MAX) } else { 1_500 };
            let later = simulation.rng.lock().unwrap().u64(5..most);
            tokio::time::sleep(Duration::from_millis(later)).await;
            simulation.carry_out_or(&life, &operation, &asked.to_string(), Some(&again));
        });
    }

    /// A batch read whose items are read at two moments.
    async fn torn(&self, asked: &str) -> Answered {
        let asked: Value = serde_json::from_str(asked).expect("a call is JSON");
        let read = |asked: &Value| self.simulation.carry_out(&self.life, "BatchGetItem", &asked.to_string());
        let tables = asked["RequestItems"].as_object().expect("a batch read names its table");
        let (table, request) = tables.iter().next().expect("a batch read names its table");
        let keys = request["Keys"].as_array().expect("a batch read has keys").iter().cloned();
        let (mut early, mut late): (Vec<Value>, Vec<Value>) = keys.partition(|_| self.simulation.chance(500));
        if early.is_empty() {
            early.extend(late.pop());
        } else if late.is_empty() {
            late.extend(early.pop());
        }
        let (mut first, mut second) = (asked.clone(), asked.clone());
        first["RequestItems"][table]["Keys"] = early.into();
        second["RequestItems"][table]["Keys"] = late.into();
        let (status, answer) = read(&first);
        let most = if self.simulation.chance(200) { 3_000 } else { 60 };
        let between = self.simulation.rng.lock().unwrap().u64(1..most);
        tokio::time::sleep(Duration::from_millis(between)).await;
        let (_, later) = read(&second);
        let mut answer: Value = serde_json::from_str(&answer).expect("an answer is JSON");
        let mut later: Value = serde_json::from_str(&later).expect("an answer is JSON");
        let later = later["Responses"][table].as_array_mut().map(std::mem::take).unwrap_or_default();
        if let Some(items) = answer["Responses"][table].as_array_mut() {
            items.extend(later);
        }
        (status, answer.to_string())
    }

    /// A transaction that takes its time, as far as reads can see; and is answered when it is over.
    async fn in_parts(&self, asked: &str) -> Answered {
        let simulation = &self.simulation;
        let most = if simulation.chance(500) { 60 } else { 1_500 };
        let most = if simulation.chance(100) { 20_000 } else { most };
        let lasts = Duration::from_millis(simulation.rng.lock().unwrap().u64(1..most));
        let carry_out = || simulation.carry_out(&self.life, "TransactWriteItems", asked);
        let is_late = || simulation.chance(500);
        let answer = simulation.table.unfinished.begin(&simulation.table, asked, lasts, is_late, carry_out);
        if answer.0 == 200 {
            tokio::time::sleep(lasts).await;
        }
        answer
    }

    /// A batch read of which all but some keys are left for later.
    fn some_keys(&self, asked: &str) -> Answered {
        let mut asked: Value = serde_json::from_str(asked).expect("a call is JSON");
        let left = leave_keys(&mut asked, self.simulation.chance(500));
        let (status, body) = self.simulation.carry_out(&self.life, "BatchGetItem", &asked.to_string());
        let mut body: Value = serde_json::from_str(&body).expect("an answer is JSON");
        body["UnprocessedKeys"] = left;
        (status, body.to_string())
    }
}

/// A sender is told at once that the connection broke, or waits until it has no more patience.
async fn hang_or_fail(network: &Network, sender: oneshot::Sender<Answered>) {
    if network.simulation.chance(300) {
        tokio::time::sleep(Duration::from_secs(60)).await;
    }
    drop(sender);
}

/// How DynamoDB says that a call has failed; of a transaction with the reason of each action.
pub(super) fn failure(status: u16, kind: &str, reasons: Value) -> Answered {
    let mut body = json!({
        "__type": format!("com.amazonaws.dynamodb.v20120810#{kind}"),
        "message": "made up by a simulation",
    });
    if !reasons.is_null() {
        body["CancellationReasons"] = reasons;
    }
    (status, body.to_string())
}

fn is_single_write(operation: &str) -> bool {
    is_write(operation) && operation != "TransactWriteItems"
}

/// One of the actions met another transaction, or too many others; which and what, follows from how long the call was on
/// its way.
fn conflicts(asked: &str, there: Duration) -> Value {
    let asked: Value = serde_json::from_str(asked).expect("a call is JSON");
    let actions = asked["TransactItems"].as_array().map_or(0, Vec::len);
    let way = there.as_millis() as usize;
    let met = way % actions.max(1);
    let code =
        if (way / actions.max(1)).is_multiple_of(4) { "ThrottlingError" } else { "TransactionConflict" };
    let reason = |action| json!({"Code": if action == met { code } else { "None" }});
    (0..actions).map(reason).collect()
}
