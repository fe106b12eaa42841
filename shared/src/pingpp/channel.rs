//! Payment channels: who pays refunds out.

use std::sync::Arc;

use futures::future::BoxFuture;

use crate::ledger::{ChannelName, TransactionNo};

/// A refund that a payment channel is asked for. The same order number is the same refund, however often it is asked
/// for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelRefund {
    pub order_no: String,
    pub channel: ChannelName,
    pub transaction_no: Option<TransactionNo>,
    /// In minor units.
    pub amount: u64,
    pub description: String,
}

/// What a payment channel says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChannelAnswer {
    Succeeded,
    Refused {
        code: String,
        message: String,
    },
    /// Someone must confirm it there.
    Confirm {
        url: String,
    },
    /// It may have been paid or not: it is asked again.
    Unknown(String),
}

pub trait PaymentChannel: Send + Sync {
    fn refund<'a>(&'a self, refund: &'a ChannelRefund) -> BoxFuture<'a, ChannelAnswer>;
}

/// The payment channel of this installation: who settles, and whoever brings a batch on by hand, asks this one.
pub fn payment_channel() -> Arc<dyn PaymentChannel> {
    Arc::new(LedgerChannel)
}

/// Channels whose refunds their merchant confirms with a password.
const CONFIRMED_BY_PASSWORD: [&str; 3] = ["alipay", "alipay_wap", "alipay_pc_direct"];

/// Pays on the ledger alone: what was taken from the app's funds is the refund.
#[derive(Debug, Clone, Copy, Default)]
pub struct LedgerChannel;

impl PaymentChannel for LedgerChannel {
    fn refund<'a>(&'a self, refund: &'a ChannelRefund) -> BoxFuture<'a, ChannelAnswer> {
        let answer = match CONFIRMED_BY_PASSWORD.contains(&refund.channel.as_str()) {
            true => ChannelAnswer::Confirm {
                url: format!("https://mapi.alipay.com/gateway.do?batch_no={}", refund.order_no),
            },
            false => ChannelAnswer::Succeeded,
        };
        Box::pin(std::future::ready(answer))
    }
}
