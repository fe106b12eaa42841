#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    shared::edge::run(shared::ebet::PROVIDER, refund_single_wallet::RefundSingleWallet::new).await
}
