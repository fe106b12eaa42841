//! Which app of a merchant a command is about, and which of its batches.

use anyhow::{Context, Result};
use clap::Args;
use shared::ledger::{RefundBatch, RefundBatchKey, TenantKey};
use shared::pingpp::{AppId, Mode};
use shared::store::Session;

use crate::send::pingpp::DEMO_APP;

#[derive(Debug, Clone, Args)]
pub struct AppOptions {
    /// The app
    #[arg(long, default_value = DEMO_APP, env = "REFUNDS_APP")]
    pub app: AppId,
    /// In live mode rather than in test mode
    #[arg(long)]
    pub live: bool,
}

impl AppOptions {
    pub fn mode(&self) -> Mode {
        Mode::of(self.live)
    }

    pub fn tenant(&self) -> TenantKey {
        self.app.tenant(self.mode())
    }

    /// As people call it.
    pub fn name(&self) -> String {
        format!("app {} in {} mode", self.app, self.mode().as_str())
    }

    /// The app's batch by its id, or else by its merchant's number; one that was taken back by its id alone.
    ///
    /// # Errors
    /// If there is no such batch.
    pub async fn batch(&self, session: &Session, id_or_no: &str) -> Result<RefundBatch> {
        let tenant = self.tenant();
        if let Ok(id) = id_or_no.parse()
            && let Some(batch) = session.batch(&RefundBatchKey { tenant: tenant.clone(), id }).await?
        {
            return Ok(batch);
        }
        let of_number = match id_or_no.parse() {
            Ok(batch_no) => session.batch_of_number(&tenant, &batch_no).await?,
            Err(_) => None,
        };
        let unknown =
            || format!("{} has no batch {id_or_no}; --app APP and --live choose another", self.name());
        let id = of_number.with_context(unknown)?;
        session.batch(&RefundBatchKey { tenant, id }).await?.with_context(unknown)
    }
}
