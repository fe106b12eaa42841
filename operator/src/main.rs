use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};
use refundctl::agreement::WrongUsage;
use refundctl::screen::plain;
use refundctl::tell;
use refundctl::{
    application, batch, completions, dead_letters, import, keygen, local, openapi, reconcile, refund, report,
    sample, self_refund, send, show, tenant, verify,
};
use shared::store::StoreError;

/// Refund endpoints on one ledger: run them here, and work with the ledger.
///
/// Without a command it starts the local stack, as `refundctl local` does.
#[derive(Debug, Parser)]
#[command(name = "refundctl", version, args_conflicts_with_subcommands = true, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    local: local::Options,
}

const EXAMPLES: &str = "\
Examples:
  refundctl                                     start the local stack, with demo data in memory
  refundctl local --data refunds.db --no-demo   start it on a file, without demo data
  refundctl send refund-single-wallet           play the API document's example on the demo data
  refundctl show wallet 1 apitest01             see what it did
  refundctl self-refund 1 demo a70efc7cf71e03ae98b42b22ad4b4288
                                                give a bet back before the provider asks
  refundctl send begin-single-refund            mark the demo application 1 as being processed
  refundctl show application demo 1             see its state and history
  refundctl send create-batch-refund            refund two charges of the demo app in one call
  refundctl show batch batchrefund20160801001   see what became of them
  refundctl send record-entries                 put a bet's life on record, as your own system would
  refundctl import facts.jsonl                  load your own data into the local stack

Exit codes: 0 done; 1 refused or in conflict; 2 wrong usage.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the whole stack here: DynamoDB, gateway and functions
    #[command(after_help = LOCAL_EXAMPLES)]
    Local(local::Options),
    /// Withdraw an application for a refund, or record that its refund has failed
    #[command(subcommand)]
    Application(application::Action),
    /// Write all accounts' heads, to compare with later
    #[command(after_help = verify::anchor::EXAMPLES)]
    Anchor(verify::anchor::Options),
    /// Bring a batch of refunds on, or tell again what of it has succeeded
    #[command(subcommand)]
    Batch(batch::Action),
    /// Write what lets your shell complete commands and options
    #[command(after_help = completions::EXAMPLES)]
    Completions(completions::Options),
    /// Changes that could not be told on the event bus: list them, or tell them again
    #[command(subcommand)]
    DeadLetters(dead_letters::Action),
    /// Load channels, wallets, debits, merchants, applications, apps, keys and charges from JSON lines
    #[command(after_help = import::EXAMPLES)]
    Import(import::Options),
    /// Make a key pair for a channel
    #[command(after_help = keygen::EXAMPLES)]
    Keygen(keygen::Options),
    /// Write what every route takes and answers, as an OpenAPI document
    #[command(after_help = openapi::EXAMPLES)]
    Openapi(openapi::Options),
    /// Compare a provider's statement with the ledger
    #[command(after_help = reconcile::EXAMPLES)]
    Reconcile(reconcile::Options),
    /// Record what a payment channel says of a refund that is not decided
    #[command(subcommand)]
    Refund(refund::Action),
    /// Add up refunds, by day, tenant or provider
    #[command(after_help = report::EXAMPLES)]
    Report(report::Options),
    /// Write wallets and debits to try things with, as import lines
    #[command(after_help = sample::EXAMPLES)]
    Sample(sample::Options),
    /// Refund a bet as its channel, before the provider asks
    #[command(after_help = self_refund::EXAMPLES)]
    SelfRefund(self_refund::Options),
    /// Sign and send a request as a provider, or your own system, would
    #[command(subcommand)]
    Send(send::Call),
    /// Show what the ledger holds
    #[command(subcommand)]
    Show(show::Thing),
    /// Add tenants, change their keys, disable and enable them
    #[command(subcommand)]
    Tenant(tenant::Action),
    /// Check that the whole table is as the ledger writes it
    #[command(after_help = verify::EXAMPLES)]
    Verify(verify::Options),
}

const LOCAL_EXAMPLES: &str = "\
Examples:
  refundctl local                        in memory, with demo data
  refundctl local --data refunds.db      in a file: nothing is lost, however it ends
  refundctl local --port 0 --dynamodb-port 0
                                         on free ports; the first two lines say which
  refundctl local --dynamodb-endpoint http://127.0.0.1:8000
                                         with the functions on another DynamoDB

It is ready once it has printed `listening on URL` and `dynamodb on URL table NAME`.";

/// As clap has it for what it can't read.
const WRONG_USAGE: u8 = 2;

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    let command = cli.command.unwrap_or(Command::Local(cli.local));
    // Who reads what is printed, such as `head`, may have seen enough. But what changes something comes to its end, and
    // tells what it could not print.
    let only_prints = matches!(
        command,
        Command::Show(_)
            | Command::Report(_)
            | Command::Sample(_)
            | Command::Keygen(_)
            | Command::Completions(_)
            | Command::Openapi(_)
            | Command::Reconcile(_)
            | Command::Send(_)
    );
    if only_prints {
        sigpipe::reset();
    }
    let done = match command {
        Command::Local(options) => local::run(&options).await.map(|()| ExitCode::SUCCESS),
        Command::Application(action) => application::command(&action).await.map(|()| ExitCode::SUCCESS),
        Command::Anchor(options) => verify::anchor::command(&options).await,
        Command::Batch(action) => batch::command(&action).await,
        Command::Completions(options) => {
            completions::command(&options, &mut Cli::command());
            Ok(ExitCode::SUCCESS)
        }
        Command::DeadLetters(action) => dead_letters::command(&action).await,
        Command::Import(options) => import::command(&options).await,
        Command::Keygen(options) => keygen::command(&options).map(|()| ExitCode::SUCCESS),
        Command::Openapi(options) => openapi::command(&options).map(|()| ExitCode::SUCCESS),
        Command::Reconcile(options) => reconcile::command(&options).await,
        Command::Refund(action) => refund::command(&action).await.map(|()| ExitCode::SUCCESS),
        Command::Report(options) => report::command(&options).await,
        Command::Sample(options) => sample::command(&options).map(|()| ExitCode::SUCCESS),
        Command::SelfRefund(options) => self_refund::command(&options).await.map(|()| ExitCode::SUCCESS),
        Command::Send(call) => send::command(&call).await,
        Command::Show(thing) => show::command(&thing).await,
        Command::Tenant(action) => tenant::command(&action).await,
        Command::Verify(options) => verify::command(&options).await,
    };
    done.unwrap_or_else(|error| {
        tell!("error: {}", plain(&format!("{error:#}")).replace("\\n", "\n"));
        if error.chain().any(|cause| cause.downcast_ref::<WrongUsage>().is_some()) {
            return ExitCode::from(WRONG_USAGE);
        }
        let unreachable =
            |cause: &&(dyn std::error::Error + 'static)| cause.downcast_ref().is_some_and(StoreError::passes);
        if error.chain().any(|cause| unreachable(&cause)) {
            tell!(
                "is the local stack (`refundctl local`) running, or the table elsewhere: --stage, --endpoint?"
            );
        }
        ExitCode::FAILURE
    })
}
