#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    shared::edge::run(shared::pingpp::PROVIDER, create_batch_refund::CreateBatchRefund::new).await
}
