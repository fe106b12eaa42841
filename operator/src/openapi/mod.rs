//! `refundctl openapi`: what every route takes and answers, as an OpenAPI document.
//!
//! It is made of what the functions go by: the template's routes, the limits, the codes. What requests may be like is
//! said as far as a schema can say it, answers are described to the member. The conformance cases hold every answer
//! against it, and `tests/contract.py` plays what it says.

mod ebet;
mod entries;
mod epay;
mod pingpp;
mod schema;

use anyhow::{Context, Result};
use clap::Args;
use serde_json::{Map, Value, json};

use crate::send::{self, Call};
use crate::target::gateway_url;
use crate::template::Template;

pub const EXAMPLES: &str = "\
Examples:
  refundctl openapi > openapi.json
  refundctl openapi --endpoint https://abc123.execute-api.eu-west-1.amazonaws.com > openapi.json
  schemathesis run openapi.json --url http://127.0.0.1:8787
                              play what it says on the local stack

docs/ has the rules in words: ebet.md, epay.md, pingpp.md, entries.md.";

#[derive(Debug, Args)]
pub struct Options {
    /// Where the routes are served [default: the local stack]
    #[arg(long, value_name = "URL")]
    endpoint: Option<String>,
}

pub fn command(options: &Options) -> Result<()> {
    let endpoint = options.endpoint.clone().unwrap_or_else(gateway_url);
    let document = document(&Template::built_in()?, &endpoint)?;
    println!("{}", serde_json::to_string_pretty(&document)?);
    Ok(())
}

/// What of a route can be said without its path.
type Operation = fn(example: &Value) -> Value;

/// The operations by the binaries that answer them, each with the call whose body is its example.
fn operations() -> [(&'static str, Operation, Call); 8] {
    [
        ("refund-single-wallet", ebet::refund_single_wallet, Call::RefundSingleWallet(Default::default())),
        ("auto-batch-refund", ebet::auto_batch_refund, Call::AutoBatchRefund(Default::default())),
        ("begin-single-refund", epay::begin_single, Call::BeginSingleRefund(Default::default())),
        ("end-single-refund", epay::end_single, Call::EndSingleRefund(Default::default())),
        ("create-batch-refund", pingpp::create, Call::CreateBatchRefund(Default::default())),
        ("retrieve-batch-refund", pingpp::retrieve, Call::RetrieveBatchRefund(Default::default())),
        ("list-batch-refunds", pingpp::list, Call::ListBatchRefunds(Default::default())),
        ("record-entries", entries::record, Call::RecordEntries(Default::default())),
    ]
}

/// The document of a template's routes, as they are served at `endpoint`.
///
/// # Errors
/// If nothing is known of a route.
pub fn document(template: &Template, endpoint: &str) -> Result<Value> {
    let operations = operations();
    let mut paths = Map::new();
    for route in &template.routes {
        let known = operations.iter().find(|(binary, ..)| *binary == route.binary);
        let (_, operation, call) =
            known.with_context(|| format!("nothing is known of what {} answers", route.binary))?;
        let mut operation = operation(&example(&call.request()?)?);
        if route.is_signed {
            operation["security"] = json!([{ "awsSignature": [] }]);
        }
        let path = paths.entry(&route.path).or_insert_with(|| json!({}));
        path[route.method.to_lowercase()] = operation;
    }
    let schemas = [ebet::schemas(), epay::schemas(), pingpp::schemas(), entries::schemas()];
    Ok(json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Refunds",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Refund endpoints of eBET, EPay and Ping++, and the operator's own entries. Answers of the \
                gateway itself (403, 404, 413, 429, 5xx) have a `message` alone.",
        },
        "servers": [{ "url": endpoint }],
        "paths": paths,
        "components": {
            "schemas": schemas.into_iter().flatten().collect::<Map<_, _>>(),
            "securitySchemes": {
                "merchantKey": epay::security_scheme(),
                "secretKey": pingpp::basic_scheme(),
                "bearerKey": pingpp::bearer_scheme(),
                "awsSignature": entries::security_scheme(),
            },
        },
    }))
}

/// What `refundctl send` sends by itself.
fn example(request: &send::Request) -> Result<Value> {
    match &request.body[..] {
        [] => Ok(Value::Null),
        body => Ok(serde_json::from_slice(body)?),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn built_in() -> (Template, Value) {
        let template = Template::built_in().unwrap();
        let document = document(&template, "http://127.0.0.1:1").unwrap();
        (template, document)
    }

    #[test]
    fn every_route_of_the_template_is_in_the_document_and_no_other_is() {
        let (template, document) = built_in();
        let routes: BTreeSet<(String, String)> =
            template.routes.iter().map(|route| (route.path.clone(), route.method.to_lowercase())).collect();
        let paths = document["paths"].as_object().unwrap().iter();
        let documented: BTreeSet<(String, String)> = paths
            .flat_map(|(path, methods)| {
                methods.as_object().unwrap().keys().map(|method| (path.clone(), method.clone()))
            })
            .collect();
        assert_eq!(documented, routes);
        for (binary, ..) in operations() {
            assert!(template.routes.iter().any(|route| route.binary == binary), "{binary} has no route");
        }
    }

    #[test]
    fn a_route_of_which_nothing_is_known_is_refused() {
        let (mut template, _) = built_in();
        template.routes[0].binary = "new-function".to_owned();
        let error = document(&template, "http://127.0.0.1:1").unwrap_err();
        assert!(error.to_string().contains("new-function"), "{error}");
    }

    #[test]
    fn a_route_that_must_be_signed_for_aws_says_so_and_all_but_ebets_name_their_keys() {
        let (template, document) = built_in();
        for route in &template.routes {
            let operation = &document["paths"][&route.path][route.method.to_lowercase()];
            let schemes: BTreeSet<&String> = operation["security"]
                .as_array()
                .into_iter()
                .flatten()
                .flat_map(|scheme| scheme.as_object().unwrap().keys())
                .collect();
            assert_eq!(schemes.contains(&"awsSignature".to_owned()), route.is_signed, "{}", route.path);
            // eBET's signature is a member of the body.
            let is_in_body = ["refund-single-wallet", "auto-batch-refund"].contains(&route.binary.as_str());
            assert_eq!(schemes.is_empty(), is_in_body, "{}", route.path);
            for scheme in schemes {
                assert!(document["components"]["securitySchemes"][scheme].is_object(), "{scheme}");
            }
        }
    }

    #[test]
    fn every_schema_is_there_that_is_referred_to_and_no_other() {
        fn references<'a>(node: &'a Value, found: &mut BTreeSet<&'a str>) {
            match node {
                Value::Object(members) => {
                    found.extend(members.get("$ref").and_then(Value::as_str));
                    members.values().for_each(|member| references(member, found));
                }
                Value::Array(values) => values.iter().for_each(|value| references(value, found)),
                _ => {}
            }
        }
        let (_, document) = built_in();
        let mut found = BTreeSet::new();
        references(&document, &mut found);
        let schemas = document["components"]["schemas"].as_object().unwrap();
        let there: BTreeSet<String> =
            schemas.keys().map(|name| format!("#/components/schemas/{name}")).collect();
        assert_eq!(found.into_iter().map(str::to_owned).collect::<BTreeSet<_>>(), there);
    }
}
