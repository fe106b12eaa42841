//! The platform that functions run on: processes that answer one event at a time, are kept for the next ones, die in the
//! midst of their work, or are ended because they take too long; each with a clock of its own.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::retry::RetryPartition;
use aws_smithy_runtime_api::client::http::{SharedHttpConnector, http_client_fn};
use refundctl::functions::function;
use serde_json::Value;
use settle_refunds::{SettleRefunds, Worked};
use shared::clock::{self, simulated};
use shared::edge::{Function, Invocation, Response, invoke};
use shared::store::{Deadline, Session, Store};
use tokio::sync::Notify;

use super::network::Network;
use super::weather::elsewhere;
use super::{Simulation, table};

/// What template.yaml gives every function.
pub const TIMEOUT: Duration = Duration::from_secs(29);

/// Processes of one function that are kept.
const KEPT: usize = 4;

/// Whether a process lives, and as whom.
#[derive(Debug)]
pub struct Life {
    pub name: String,
    has_ended: AtomicBool,
    /// Who waits for its end goes on in the order in which they came.
    ended: Notify,
}

impl Life {
    pub fn new(name: String) -> Arc<Self> {
        Arc::new(Self { name, has_ended: AtomicBool::new(false), ended: Notify::new() })
    }

    pub fn end(&self) {
        self.has_ended.store(true, Ordering::Relaxed);
        self.ended.notify_waiters();
    }

    pub fn has_ended(&self) -> bool {
        self.has_ended.load(Ordering::Relaxed)
    }

    /// Does this, unless the life is over before.
    pub async fn unless_ended<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            () = self.until_ended() => None,
            done = work => Some(done),
        }
    }

    async fn until_ended(&self) {
        let ended = self.ended.notified();
        if !self.has_ended() {
            ended.await;
        }
    }
}

#[derive(Clone)]
enum Work {
    Answers(Arc<dyn Function>),
    Settles(Arc<SettleRefunds>),
}

#[derive(Clone)]
struct Process {
    life: Arc<Life>,
    work: Work,
    /// How far its clock is off, in milliseconds.
    clock_off: i64,
}

/// What a call of a function came to.
#[derive(Debug)]
pub enum Came {
    Answered(Response),
    Worked(Worked),
    /// The process died, or took too long.
    Nothing,
}

#[derive(Default)]
pub struct Platform {
    idle: Mutex<BTreeMap<&'static str, Vec<Process>>>,
}

impl Platform {
    /// No process is kept any more.
    pub fn end(&self) {
        self.idle.lock().unwrap().clear();
    }
}

impl Simulation {
    /// The table, as a process of this name reaches it.
    pub fn store(self: &Arc<Self>, life: &Arc<Life>) -> Store {
        let network = Network { simulation: self.clone(), life: life.clone() };
        let config = self
            .sdk
            .to_builder()
            .http_client(http_client_fn(move |_, _| SharedHttpConnector::new(network.clone())))
            // A process of its own has its own patience.
            .retry_partition(RetryPartition::custom("simulated").build())
            .build();
        Store::new(Client::from_conf(config), table::NAME)
    }

    /// A session of somebody who is no function, an operator.
    pub fn session(self: &Arc<Self>, name: &str) -> Session {
        self.session_of(&Life::new(name.to_owned()))
    }

    pub fn session_of(self: &Arc<Self>, life: &Arc<Life>) -> Session {
        self.store(life).session(Deadline::after(Duration::from_secs(20)))
    }

    fn process(self: &Arc<Self>, binary: &'static str) -> Process {
        let kept = {
            let mut idle = self.platform.idle.lock().unwrap();
            let kept = idle.entry(binary).or_default();
            // What was late may have ended one meanwhile.
            kept.retain(|process| !process.life.has_ended());
            kept.pop()
        };
        // A new one now and then, which has nothing cached.
        if let Some(process) = kept.filter(|_| !self.chance(100)) {
            return process;
        }
        let number = self.number();
        let life = Life::new(format!("{binary} {number}"));
        let store = self.store(&life);
        let work = match binary {
            "settle-refunds" => {
                Work::Settles(Arc::new(SettleRefunds::new(store, self.channel.clone(), self.bus.clone())))
            }
            _ => Work::Answers(function(binary, &store).expect("there is such a function")),
        };
        Process { life, work, clock_off: self.clock_off() }
    }

    /// Has a function answer an event; its process may die of it.
    pub async fn run(self: &Arc<Self>, binary: &'static str, event: String) -> Came {
        let process = self.process(binary);
        let simulation = self.clone();
        let lives = self.time_out();
        let (life, clock_off) = (process.life.clone(), process.clock_off);
        let running = async move {
            let request_id = format!("simulated-{}", simulation.number());
            let invocation = Invocation { request_id, ends: clock::now() + TIMEOUT };
            let work = async {
                match &process.work {
                    Work::Answers(function) => Came::Answered(invoke(&**function, &event, invocation).await),
                    Work::Settles(worker) => match worker.work(&event, &invocation).await {
                        Ok(worked) => Came::Worked(worked),
                        Err(error) => panic!("{error}: {event}"),
                    },
                }
            };
            let came = tokio::select! {
                biased;
                () = process.life.until_ended() => Came::Nothing,
                came = tokio::time::timeout(lives, work) => came.unwrap_or_else(|_| {
                    simulation.count_fault(elsewhere::TIME_OUT);
                    Came::Nothing
                }),
            };
            match came {
                Came::Nothing => process.life.end(),
                Came::Answered(_) | Came::Worked(_) => {
                    let mut idle = simulation.platform.idle.lock().unwrap();
                    let kept = idle.entry(binary).or_default();
                    if kept.len() < KEPT {
                        kept.push(process.clone());
                    }
                }
            }
            came
        };
        // It goes on when its caller hangs up.
        let running = tokio::spawn(simulated::CLOCK_OFF.scope(clock_off, running));
        match running.await {
            Ok(came) => came,
            Err(error) => {
                self.breach(format!("{} panicked: {error}", life.name));
                Came::Nothing
            }
        }
    }

    /// Calls a function as callers do: through a gateway, on which requests and answers get lost. Its HTTP status and its
    /// body's JSON; nothing where the caller hears nothing, or that of a broken gateway.
    pub async fn call(self: &Arc<Self>, binary: &'static str, event: String) -> Option<(u16, Value)> {
        self.count_done(binary);
        if self.is_lost_at_gateway() {
            self.count_fault(elsewhere::CALL_LOST_AT_GATEWAY);
            return None;
        }
        let Came::Answered(response) = self.run(binary, event).await else { return None };
        if self.is_lost_at_gateway() {
            self.count_fault(elsewhere::ANSWER_LOST_AT_GATEWAY);
            return None;
        }
        let body = match serde_json::from_slice(&response.bytes()) {
            Ok(body) => body,
            Err(error) => {
                self.breach(format!("{binary} answered what is no JSON: {error}"));
                return None;
            }
        };
        Some((response.status_code, body))
    }
}
