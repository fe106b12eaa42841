//! Clients of AWS's services: made for short deadlines, and for starting fast in a small function.

use std::fmt::Write as _;
use std::time::Duration;

use aws_config::BehaviorVersion;
pub use aws_config::SdkConfig;
use aws_config::environment::EnvironmentVariableCredentialsProvider;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_sdk_dynamodb::config::{Credentials, Region, SharedCredentialsProvider, SharedHttpClient};
use aws_smithy_http_client::Builder;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};

/// The region that local services are addressed in; they take any.
const LOCAL_REGION: &str = "us-east-1";

/// The SDK would learn how wrong our clock is and sign by the service's. Who takes a batch on, or says how long something
/// has been asked for, does so by our own: a service that refuses it keeps us from that.
const IS_CLOCK_LEFT_AS_IT_IS: bool = true;

/// What clients are made of in a program that people start: the environment's AWS settings, wherever the SDK finds any,
/// or `endpoint` alone, a local service.
pub async fn settings(endpoint: Option<&str>) -> SdkConfig {
    match endpoint {
        Some(endpoint) => local(endpoint),
        None => {
            aws_config::defaults(BehaviorVersion::latest())
                .http_client(http_client())
                .retry_config(retries())
                .timeout_config(timeouts())
                .disable_clock_skew_correction(IS_CLOCK_LEFT_AS_IT_IS)
                .load()
                .await
        }
    }
}

/// What clients are made of for a local service, which takes any credentials.
pub fn local(endpoint: &str) -> SdkConfig {
    made_of(
        Some(Region::new(LOCAL_REGION)),
        SharedCredentialsProvider::new(Credentials::new("local", "local", None, None, "local")),
        Some(endpoint.to_owned()),
    )
}

/// What a client for `service` (as variables spell it: `DYNAMODB`) is made of in a function: Lambda's variables alone,
/// and `AWS_ENDPOINT_URL_<service>` or `AWS_ENDPOINT_URL` where there are such. The other places in which [`settings`]
/// looks would be a megabyte of code that every cold start loads and none needs.
pub fn of_function(service: &str) -> SdkConfig {
    made_of(
        variable("AWS_REGION").map(Region::new),
        SharedCredentialsProvider::new(EnvironmentVariableCredentialsProvider::new()),
        variable(&format!("AWS_ENDPOINT_URL_{service}")).or_else(|| variable("AWS_ENDPOINT_URL")),
    )
}

/// A variable of the environment, where it is set to something.
pub fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn made_of(
    region: Option<Region>,
    credentials: SharedCredentialsProvider,
    endpoint: Option<String>,
) -> SdkConfig {
    let mut settings = SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .http_client(http_client())
        .retry_config(retries())
        .timeout_config(timeouts())
        .disable_clock_skew_correction(IS_CLOCK_LEFT_AS_IT_IS)
        .region(region)
        .credentials_provider(credentials);
    settings.set_endpoint_url(endpoint);
    settings.build()
}

fn http_client() -> SharedHttpClient {
    Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https()
}

/// Who calls tries again until its deadline; the SDK only bridges hiccups.
fn retries() -> RetryConfig {
    RetryConfig::standard()
        .with_max_attempts(3)
        .with_initial_backoff(Duration::from_millis(25))
        .with_max_backoff(Duration::from_millis(500))
}

/// What we call answers in milliseconds; a connection that hangs is worth giving up early.
fn timeouts() -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(Duration::from_secs(2))
        .operation_attempt_timeout(Duration::from_secs(5))
        .build()
}

/// The SDK's errors say little by themselves; what happened stands in their causes.
pub fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let _ = write!(text, ": {error}");
        cause = error.source();
    }
    text
}
