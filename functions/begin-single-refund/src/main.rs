#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    shared::edge::run(shared::epay::PROVIDER, begin_single_refund::BeginSingleRefund::new).await
}
