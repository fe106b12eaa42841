#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    shared::edge::run(shared::ebet::PROVIDER, auto_batch_refund::AutoBatchRefund::new).await
}
