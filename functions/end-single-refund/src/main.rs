#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    shared::edge::run(shared::epay::PROVIDER, end_single_refund::EndSingleRefund::new).await
}
