//! The DynamoDB client: made for short deadlines, and for starting fast in a small function.

use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, SdkConfig};
use aws_sdk_dynamodb::config::{Credentials, Region};
use aws_smithy_http_client::Builder;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};

/// The region that local DynamoDBs are addressed in; they take any.
pub const LOCAL_REGION: &str = "us-east-1";

/// A client for the DynamoDB of the environment's AWS settings, or for `endpoint` alone: a local one,
/// that takes any credentials.
pub async fn client(endpoint: Option<&str>) -> aws_sdk_dynamodb::Client {
    aws_sdk_dynamodb::Client::new(&aws_settings(endpoint).await)
}

/// What clients of AWS's services are made of.
pub async fn aws_settings(endpoint: Option<&str>) -> SdkConfig {
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .http_client(Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https())
        .retry_config(
            // The engine tries again until the request's deadline; the SDK only bridges hiccups.
            RetryConfig::standard()
                .with_max_attempts(3)
                .with_initial_backoff(Duration::from_millis(25))
                .with_max_backoff(Duration::from_millis(500)),
        )
        .timeout_config(
            // DynamoDB answers in milliseconds; a connection that hangs is worth giving up early.
            TimeoutConfig::builder()
                .connect_timeout(Duration::from_secs(2))
                .operation_attempt_timeout(Duration::from_secs(5))
                .build(),
        );
    if let Some(endpoint) = endpoint {
        loader = loader
            .endpoint_url(endpoint)
            .region(Region::new(LOCAL_REGION))
            .credentials_provider(Credentials::new("local", "local", None, None, "local"));
    }
    loader.load().await
}
