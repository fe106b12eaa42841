//! The DynamoDB client.

use crate::aws;

/// A client for the DynamoDB of the environment's AWS settings, or for `endpoint` alone: a local one, that takes any
/// credentials.
pub async fn client(endpoint: Option<&str>) -> aws_sdk_dynamodb::Client {
    aws_sdk_dynamodb::Client::new(&aws::settings(endpoint).await)
}
