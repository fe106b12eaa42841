//! The functions by the names of their binaries, for running them in this process.

use std::sync::Arc;

use anyhow::{Result, bail};
use auto_batch_refund::AutoBatchRefund;
use begin_single_refund::BeginSingleRefund;
use end_single_refund::EndSingleRefund;
use refund_single_wallet::RefundSingleWallet;
use shared::edge::Function;
use shared::store::Store;

/// The function that `binary` runs.
///
/// # Errors
/// If there is no such function: then template.yaml names one that this program does not carry.
pub fn function(binary: &str, store: &Store) -> Result<Arc<dyn Function>> {
    Ok(match binary {
        "auto-batch-refund" => Arc::new(AutoBatchRefund::new(store.clone())),
        "begin-single-refund" => Arc::new(BeginSingleRefund::new(store.clone())),
        "end-single-refund" => Arc::new(EndSingleRefund::new(store.clone())),
        "refund-single-wallet" => Arc::new(RefundSingleWallet::new(store.clone())),
        other => bail!("template.yaml names the binary {other}, which this program does not carry"),
    })
}
