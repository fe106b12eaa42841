//! The functions by the names of their binaries, for running them in this process.

use std::sync::Arc;

use anyhow::{Result, bail};
use auto_batch_refund::AutoBatchRefund;
use begin_single_refund::BeginSingleRefund;
use create_batch_refund::CreateBatchRefund;
use end_single_refund::EndSingleRefund;
use list_batch_refunds::ListBatchRefunds;
use record_entries::RecordEntries;
use refund_single_wallet::RefundSingleWallet;
use retrieve_batch_refund::RetrieveBatchRefund;
use settle_refunds::SettleRefunds;
use shared::edge::Function;
use shared::pingpp::{LogBus, payment_channel};
use shared::store::Store;

/// The function that `binary` runs.
///
/// # Errors
/// If there is no such function: then template.yaml names one that this program does not carry.
pub fn function(binary: &str, store: &Store) -> Result<Arc<dyn Function>> {
    Ok(match binary {
        "auto-batch-refund" => Arc::new(AutoBatchRefund::new(store.clone())),
        "begin-single-refund" => Arc::new(BeginSingleRefund::new(store.clone())),
        "create-batch-refund" => Arc::new(CreateBatchRefund::new(store.clone())),
        "end-single-refund" => Arc::new(EndSingleRefund::new(store.clone())),
        "list-batch-refunds" => Arc::new(ListBatchRefunds::new(store.clone())),
        "record-entries" => Arc::new(RecordEntries::new(store.clone())),
        "refund-single-wallet" => Arc::new(RefundSingleWallet::new(store.clone())),
        "retrieve-batch-refund" => Arc::new(RetrieveBatchRefund::new(store.clone())),
        other => bail!("template.yaml names the binary {other}, which this program does not carry"),
    })
}

/// The function that `binary` runs without being called. Its events go to the log.
///
/// # Errors
/// If there is no such function: then template.yaml names one that this program does not carry.
pub fn worker(binary: &str, store: &Store) -> Result<Arc<SettleRefunds>> {
    match binary {
        "settle-refunds" => {
            Ok(Arc::new(SettleRefunds::new(store.clone(), payment_channel(), Arc::new(LogBus))))
        }
        other => bail!("template.yaml names the binary {other}, which this program does not carry"),
    }
}
