//! `refundctl local`: the whole stack in one process, from template.yaml: DynamoDB, gateway, functions, and what runs
//! those that nobody calls.

mod database;
mod gateway;
mod worker;

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;
use shared::aws;
use shared::store::{self, Store};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::functions;
use crate::import::{self, Source};
use crate::target::{self, DYNAMODB_PORT, GATEWAY_PORT, is_loopback};
use crate::template::{Template, Trigger};

pub use database::open as open_database;
pub use gateway::{http_api_event, with_signer};
pub use worker::{Stream, matches};

/// The demo data, as import lines.
pub const DEMO_DATA: &str = include_str!("../../demo/data.jsonl");

/// How long a stop waits for requests under way.
const STOP_WITHIN: Duration = Duration::from_secs(5);

#[derive(Debug, Clone, Args)]
pub struct Options {
    /// Port of the gateway on 127.0.0.1; 0 picks a free one
    #[arg(long, default_value_t = GATEWAY_PORT)]
    pub port: u16,
    /// Keep the data in this file (SQLite); without it, in memory
    #[arg(long, value_name = "FILE", conflicts_with = "dynamodb_endpoint")]
    pub data: Option<PathBuf>,
    /// Use this DynamoDB instead of the embedded one
    #[arg(long, value_name = "URL")]
    pub dynamodb_endpoint: Option<String>,
    /// Port of the embedded DynamoDB on 127.0.0.1; 0 picks a free one
    #[arg(long, value_name = "N", default_value_t = DYNAMODB_PORT, conflicts_with = "dynamodb_endpoint")]
    pub dynamodb_port: u16,
    /// Start without the demo data
    #[arg(long)]
    pub no_demo: bool,
    /// How long the gateway waits for a request's body.
    #[arg(skip = gateway::REQUEST_WITHIN)]
    pub request_within: Duration,
}

/// The running stack. It stops when told to, or when its process ends.
#[derive(Debug)]
pub struct LocalStack {
    /// Where the routes are served.
    pub url: String,
    pub dynamodb_url: String,
    pub table: String,
    stop: watch::Sender<bool>,
    servers: Vec<JoinHandle<Result<()>>>,
}

impl LocalStack {
    /// Starts everything, and returns once it is ready for requests.
    ///
    /// # Errors
    /// Says what could not be started, and what to do about it.
    pub async fn start(options: &Options) -> Result<Self> {
        let template = Template::built_in()?;
        if let Some(url) =
            options.dynamodb_endpoint.as_ref().filter(|url| !options.no_demo && !is_loopback(url))
        {
            bail!("demo data is for this machine only; add --no-demo to use {url}");
        }
        let (stop, stopped) = watch::channel(false);
        let mut servers = Vec::new();

        let dynamodb_url = match &options.dynamodb_endpoint {
            Some(url) => url.clone(),
            None => {
                let listener = listen(options.dynamodb_port, "--dynamodb-port").await?;
                let url = format!("http://{}", listener.local_addr()?);
                let database = database::open(options.data.as_deref())?;
                servers.push(tokio::spawn(database::serve(listener, database, stopped.clone())));
                url
            }
        };
        let client = store::client(Some(&dynamodb_url)).await;
        let table = template.table.table_name.clone();
        let created = template.table.create_if_absent(&client, &table).await;
        created.with_context(|| format!("no table in the DynamoDB at {dynamodb_url}"))?;

        let store = Store::new(client.clone(), &table);
        if !options.no_demo {
            import::run(&store, Source::text(DEMO_DATA), &import::Settings::default())
                .await
                .context("demo data")?;
        }

        // From before the first request on: what is accepted is settled.
        for worker in template.workers.clone() {
            let function = functions::worker(&worker.binary, &store)?;
            let stream = match worker.trigger {
                Trigger::Stream { .. } => {
                    let settings = aws::local(&dynamodb_url);
                    let streams = aws_sdk_dynamodbstreams::Client::new(&settings);
                    Some(worker::Stream::open(streams, &client, &table).await.context("the table's stream")?)
                }
                Trigger::Schedule { .. } => None,
            };
            servers.push(tokio::spawn(worker::run(function, worker, stream, stopped.clone())));
        }

        let listener = listen(options.port, "--port").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let routes = gateway::routes(&template, &store, options.request_within)?;
        servers.push(tokio::spawn(gateway::serve(listener, routes, stopped)));
        Ok(Self { url, dynamodb_url, table, stop, servers })
    }

    /// Stops: no new requests, and those under way get a moment to finish.
    pub async fn stop(self) -> Result<()> {
        let _ = self.stop.send(true);
        let stopped = tokio::time::timeout(STOP_WITHIN, async {
            for server in self.servers {
                server.await??;
            }
            Ok(())
        });
        // What still runs is cut off; the ledger is made for that.
        stopped.await.unwrap_or(Ok(()))
    }
}

async fn listen(port: u16, option: &str) -> Result<TcpListener> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await;
    listener.with_context(|| format!("port {port} is not free; choose another with {option} N (0 picks one)"))
}

/// Runs the stack until Ctrl-C or SIGTERM.
pub async fn run(options: &Options) -> Result<()> {
    shared::edge::init_logging();
    let stack = LocalStack::start(options).await?;
    println!("listening on {}", stack.url);
    println!("dynamodb on {} table {}", stack.dynamodb_url, stack.table);
    let gateway = target::options_for(&stack.url, &target::gateway_url());
    let table = target::options_for(&stack.dynamodb_url, &target::dynamodb_url());
    if options.no_demo {
        println!("try: cargo run -- import facts.jsonl{table}    (import --help shows the lines)");
    } else {
        println!("try: cargo run -- send refund-single-wallet{gateway}");
        println!("     cargo run -- send auto-batch-refund{gateway}");
        println!("     cargo run -- send begin-single-refund{gateway}");
        println!("     cargo run -- send create-batch-refund{gateway}");
        println!("     cargo run -- send record-entries{gateway}");
        println!("     cargo run -- show wallet 1 apitest01{table}");
        println!("     cargo run -- show application demo 1{table}");
        println!("     cargo run -- show batch batchrefund20160801001{table}");
    }
    wait_for_stop_signal().await?;
    eprintln!("stopping");
    stack.stop().await
}

async fn wait_for_stop_signal() -> Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted?,
        _ = terminate.recv() => {}
    }
    Ok(())
}
