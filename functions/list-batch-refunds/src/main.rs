#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    shared::edge::run(shared::pingpp::PROVIDER, list_batch_refunds::ListBatchRefunds::new).await
}
