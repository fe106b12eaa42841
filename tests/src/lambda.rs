//! Lambda's runtime interface, as far as a function's binary needs it: it asks for the next event, and
//! posts the answer.

use std::collections::HashMap;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::Router;
use axum::extract::{Path as UrlPath, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde_json::Value;
use shared::clock::unix_milliseconds;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::sync::{Mutex, mpsc, oneshot};

use crate::world::World;

type Answers = Arc<Mutex<HashMap<String, oneshot::Sender<Result<Value, Value>>>>>;

/// A running binary of a function.
pub struct Lambda {
    process: Child,
    log: mpsc::UnboundedReceiver<Value>,
    events: mpsc::Sender<(String, String)>,
    answers: Answers,
    invoked: u64,
}

#[derive(Clone)]
struct Interface {
    events: Arc<Mutex<mpsc::Receiver<(String, String)>>>,
    answers: Answers,
}

impl Lambda {
    /// Starts `binary` on the world's table.
    pub async fn start(binary: &Path, world: &World) -> Self {
        Self::start_with(binary, world, &[]).await
    }

    /// Starts `binary` on the world's table, with more variables.
    pub async fn start_with(binary: &Path, world: &World, variables: &[(&str, &str)]) -> Self {
        let (events, next_events) = mpsc::channel(1);
        let answers = Answers::default();
        let interface = Interface { events: Arc::new(Mutex::new(next_events)), answers: answers.clone() };
        let routes = Router::new()
            .route("/2018-06-01/runtime/invocation/next", get(next))
            .route("/2018-06-01/runtime/invocation/{id}/response", post(answered))
            .route("/2018-06-01/runtime/invocation/{id}/error", post(failed))
            .with_state(interface);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, routes).await });
        let mut process = Command::new(binary)
            .env_clear()
            .env("AWS_LAMBDA_RUNTIME_API", address.to_string())
            .env("AWS_LAMBDA_FUNCTION_NAME", "test")
            .env("AWS_LAMBDA_FUNCTION_VERSION", "1")
            .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256")
            .env("AWS_REGION", "us-east-1")
            .env("AWS_ACCESS_KEY_ID", "local")
            .env("AWS_SECRET_ACCESS_KEY", "local")
            .env("AWS_ENDPOINT_URL_DYNAMODB", &world.endpoint)
            .env("TABLE_NAME", &world.table)
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", binary.display()));
        // Lambda takes both into the log.
        let (logged, log) = mpsc::unbounded_channel();
        tokio::spawn(read_log(process.stdout.take().unwrap(), logged.clone()));
        tokio::spawn(read_log(process.stderr.take().unwrap(), logged));
        Self { process, log, events, answers, invoked: 0 }
    }

    /// The next line of its log.
    pub async fn log_line(&mut self) -> Value {
        let line = tokio::time::timeout(Duration::from_secs(10), self.log.recv()).await;
        line.expect("it logs in time").expect("it lives")
    }

    /// The function's answer to an event; an error is what it reported as one.
    pub async fn invoke(&mut self, event: String) -> Result<Value, Value> {
        self.invoked += 1;
        let id = format!("invocation-{}", self.invoked);
        let (answer, answered) = oneshot::channel();
        self.answers.lock().await.insert(id.clone(), answer);
        self.events.send((id, event)).await.unwrap();
        let answer = tokio::time::timeout(Duration::from_secs(30), answered).await;
        answer.expect("the function answers in time").expect("the function lives")
    }

    /// Ends it; what is left of its log.
    pub async fn stop(mut self) -> Vec<Value> {
        self.process.kill().await.unwrap();
        let mut lines = Vec::new();
        while let Some(line) = self.log.recv().await {
            lines.push(line);
        }
        lines
    }

    pub fn process_id(&self) -> u32 {
        self.process.id().expect("it lives")
    }

    /// The CPU time that all threads of the process have had.
    pub fn cpu_time(&self) -> Duration {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.process_id())).unwrap();
        let of_thread = |task: std::io::Result<std::fs::DirEntry>| {
            // Nanoseconds on a CPU come first; a thread that has just ended has none.
            let times = std::fs::read_to_string(task.unwrap().path().join("schedstat")).unwrap_or_default();
            times.split(' ').next().and_then(|time| time.parse::<u64>().ok()).unwrap_or_default()
        };
        Duration::from_nanos(tasks.map(of_thread).sum())
    }

    /// The most memory the process has had resident, in KB.
    pub fn peak_memory_kb(&self) -> u64 {
        peak_memory_kb(self.process_id())
    }
}

async fn read_log(output: impl AsyncRead + Unpin, logged: mpsc::UnboundedSender<Value>) {
    let mut lines = BufReader::new(output).lines();
    while let Some(line) = lines.next_line().await.unwrap() {
        // What is no JSON is in nobody's format, and in the log all the same.
        let line = serde_json::from_str(&line).unwrap_or_else(|_| Value::from(format!("no JSON: {line}")));
        let _ = logged.send(line);
    }
}

/// The most memory a process has had resident.
pub fn peak_memory_kb(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

async fn next(State(interface): State<Interface>) -> Response {
    let Some((id, event)) = interface.events.lock().await.recv().await else {
        return StatusCode::GONE.into_response();
    };
    let deadline = unix_milliseconds(SystemTime::now() + Duration::from_secs(29)).to_string();
    let arn = "arn:aws:lambda:us-east-1:000000000000:function:test".to_owned();
    let headers = [
        ("lambda-runtime-aws-request-id", id),
        ("lambda-runtime-deadline-ms", deadline),
        ("lambda-runtime-invoked-function-arn", arn),
    ];
    (headers, event).into_response()
}

async fn answered(
    State(interface): State<Interface>,
    UrlPath(id): UrlPath<String>,
    body: String,
) -> StatusCode {
    finish(&interface, &id, Ok(serde_json::from_str(&body).unwrap())).await
}

async fn failed(
    State(interface): State<Interface>,
    UrlPath(id): UrlPath<String>,
    body: String,
) -> StatusCode {
    finish(&interface, &id, Err(serde_json::from_str(&body).unwrap())).await
}

async fn finish(interface: &Interface, id: &str, answer: Result<Value, Value>) -> StatusCode {
    if let Some(waiting) = interface.answers.lock().await.remove(id) {
        let _ = waiting.send(answer);
    }
    StatusCode::ACCEPTED
}
