#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    shared::edge::run(shared::ebet::PROVIDER, record_entries::RecordEntries::new).await
}
