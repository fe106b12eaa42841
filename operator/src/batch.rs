//! `refundctl batch`: what a payment platform's operators do with batches of refunds.

use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use settle_refunds::EventBridge;
use shared::ledger::{BatchState, RefundBatch};
use shared::pingpp::{Event, EventBus, advance_by_hand, payment_channel};
use shared::{aws, clock};

use crate::agreement::{Agreement, Outcome};
use crate::app::AppOptions;
use crate::batch_list;
use crate::say;
use crate::show::batch_state;
use crate::target::{TableOptions, long_session, session};

#[derive(Debug, Subcommand)]
pub enum Action {
    /// List batches that have not ended, of all apps
    #[command(after_help = batch_list::EXAMPLES)]
    List(batch_list::Options),
    /// Bring a batch on, as far as it goes now
    #[command(after_help = RESUME_EXAMPLES)]
    Resume(ResumeOptions),
    /// Tell again what of a batch has succeeded
    #[command(after_help = TELL_EXAMPLES)]
    Tell(TellOptions),
}

const TELL_EXAMPLES: &str = "\
For events that could not be put while the table's stream had their changes: an event has the same id however often it
is told. Without --bus the events are printed, a line each, and put nowhere.

Examples:
  refundctl batch tell batchrefund20160801001
  refundctl batch tell 152611221530450042 --app app_1Gqj58ynP0mHeX1q --live --stage prod --bus refunds-prod

Exit codes: 0 told, or nothing has succeeded; 1 some events did not arrive, or there is no such batch; 2 wrong usage.";

#[derive(Debug, Args)]
pub struct TellOptions {
    /// The batch's id, or its merchant's number of it
    batch: String,
    /// Put the events on this EventBridge bus, by your AWS settings
    #[arg(long, value_name = "NAME")]
    bus: Option<String>,
    #[command(flatten)]
    app: AppOptions,
    #[command(flatten)]
    table: TableOptions,
}

const RESUME_EXAMPLES: &str = "\
Does at once what the worker does by itself once a minute: completes or takes back a batch that was not created whole,
asks payment channels for refunds that are not decided, gives back the money of those that failed. Safe at any time,
and as often as you like. A batch that another process is settling is left to it.

Examples:
  refundctl batch resume batchrefund20160801001 --dry-run
  refundctl batch resume batchrefund20160801001 --reason 'merchant asks' --yes
  refundctl batch resume 152611221530450042 --app app_1Gqj58ynP0mHeX1q --live --stage prod

Exit codes: 0 the batch has ended; 1 it is still open, or there is none, or it is not known: then run it again; 2 wrong
usage.";

#[derive(Debug, Args)]
pub struct ResumeOptions {
    /// The batch's id, or its merchant's number of it
    batch: String,
    #[command(flatten)]
    app: AppOptions,
    #[command(flatten)]
    agreement: Agreement,
    #[command(flatten)]
    table: TableOptions,
}

pub async fn command(action: &Action) -> Result<ExitCode> {
    match action {
        Action::List(options) => batch_list::command(options).await,
        Action::Resume(options) => resume(options).await,
        Action::Tell(options) => tell(options).await,
    }
}

async fn tell(options: &TellOptions) -> Result<ExitCode> {
    let store = options.table.store().await?;
    let session = session(&store);
    let key = options.app.batch(&session, &options.batch).await?.key;
    let mut events: Vec<Event> = settle_refunds::events(&session, &key).await?.into_values().collect();
    events.sort_by(|one, other| (one.at, &one.id).cmp(&(other.at, &other.id)));
    let Some(bus) = &options.bus else {
        for event in &events {
            say!("{}", event.json);
        }
        return Ok(ExitCode::SUCCESS);
    };
    let put = EventBridge::new(&aws::settings(None).await, bus).put(&events).await;
    let failures: Vec<&String> = put.iter().filter_map(|put| put.as_ref().err()).collect();
    say!("{} of {} events told on bus {bus}", events.len() - failures.len(), events.len());
    if let Some(why) = failures.first() {
        bail!("{} events did not arrive: {why}", failures.len());
    }
    Ok(ExitCode::SUCCESS)
}

impl Outcome for RefundBatch {
    fn outcome(&self) -> String {
        batch_state(self.state)
    }
}

async fn resume(options: &ResumeOptions) -> Result<ExitCode> {
    let store = options.table.store().await?;
    let session = long_session(&store).await?;
    let batch = options.app.batch(&session, &options.batch).await?;
    let key = batch.key;
    if !batch.state.is_open() {
        say!("unchanged: batch {}: {}", key.id, batch_state(batch.state));
        return Ok(ExitCode::SUCCESS);
    }
    let change = format!(
        "batch {} of {}, {}: bring it on as far as it goes",
        key.id,
        options.app.name(),
        batch_state(batch.state)
    );
    let Some(agreed) = options.agreement.ask(&options.table, &[change]).await? else {
        return Ok(ExitCode::SUCCESS);
    };
    // People take their time to answer.
    let session = long_session(&store).await?;
    let work = async {
        let now = clock::unix_now();
        let batch =
            advance_by_hand(&session, &*payment_channel(), &key, now).await.context("run it again")?;
        batch.with_context(|| format!("batch {} is no longer there", key.id))
    };
    let batch = agreed.do_it(&store, &key.tenant, &format!("batch {}", key.id), "bring on", work).await?;
    say!("batch {}: {}", batch.key.id, batch_state(batch.state));
    if let BatchState::Ended { .. } | BatchState::Void = batch.state {
        return Ok(ExitCode::SUCCESS);
    }
    let refunds = session.refunds_of(&batch).await?;
    let pending = refunds.values().filter(|refund| refund.state.is_pending()).count();
    let unknown = batch.items.len() - refunds.len();
    say!(
        "{pending} refunds wait for someone's confirmation; of {unknown} no answer is known, or another process asks for it now"
    );
    Ok(ExitCode::FAILURE)
}
