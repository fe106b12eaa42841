#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    shared::edge::run(shared::pingpp::PROVIDER, retrieve_batch_refund::RetrieveBatchRefund::new).await
}
