use std::sync::Arc;

use settle_refunds::{EventBridge, SettleRefunds};
use shared::aws;
use shared::edge::{serve, start};
use shared::pingpp::{PROVIDER, payment_channel};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    let store = start(PROVIDER).await?;
    let bus = aws::variable("EVENT_BUS").ok_or("set EVENT_BUS to the name of the events' bus")?;
    let bus = Arc::new(EventBridge::new(&aws::of_function("EVENTBRIDGE"), &bus));
    let function = Arc::new(SettleRefunds::new(store, payment_channel(), bus));
    serve(move |event, invocation| {
        let function = function.clone();
        async move { Ok(function.work(event.get(), &invocation).await?) }
    })
    .await
}
