//! template.yaml, the one place where routes and table are defined, read for the local stack.
//!
//! The binary carries the template it was built with. Intrinsic functions are resolved as far as the
//! local stack needs them: `!Ref` and `!Sub` of parameters; the others stay what they are.

use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, GlobalSecondaryIndex, KeySchemaElement, Projection,
    StreamSpecification, TimeToLiveSpecification,
};
use saphyr::{LoadableYamlNode, Scalar, Yaml};
use serde::Deserialize;
use serde_json::{Map, Value, json};

const TEMPLATE: &str = include_str!("../../template.yaml");

/// What the local stack is made of.
#[derive(Debug, Clone)]
pub struct Template {
    pub table: Table,
    pub routes: Vec<Route>,
    /// Of every function.
    pub timeout: Duration,
}

/// One route of the HTTP API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    pub method: String,
    pub path: String,
    /// The binary that answers it.
    pub binary: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Table {
    pub table_name: String,
    attribute_definitions: Vec<Attribute>,
    key_schema: Vec<Key>,
    #[serde(default)]
    global_secondary_indexes: Vec<Index>,
    stream_specification: Stream,
    time_to_live_specification: TimeToLive,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Attribute {
    attribute_name: String,
    attribute_type: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Key {
    attribute_name: String,
    key_type: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Index {
    index_name: String,
    key_schema: Vec<Key>,
    projection: ProjectionOf,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ProjectionOf {
    projection_type: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Stream {
    stream_view_type: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct TimeToLive {
    attribute_name: String,
}

impl Template {
    /// The template this binary was built with, with its parameters' defaults.
    pub fn built_in() -> Result<Self> {
        Self::read(TEMPLATE).context("template.yaml")
    }

    fn read(text: &str) -> Result<Self> {
        let documents = Yaml::load_from_str(text)?;
        let document = documents.first().context("is empty")?;
        let parameters = document
            .as_mapping_get("Parameters")
            .map(|parameters| defaults(&resolve(parameters, &Map::new())))
            .unwrap_or_default();
        let template = resolve(document, &parameters);
        let resources = template["Resources"].as_object().context("has no Resources")?;

        let mut tables = Vec::new();
        let mut routes = Vec::new();
        for (name, resource) in resources {
            match resource["Type"].as_str() {
                Some("AWS::DynamoDB::Table") => {
                    let table = Table::deserialize(&resource["Properties"]);
                    tables.push(table.with_context(|| format!("table {name}"))?);
                }
                Some("AWS::Serverless::Function") => {
                    routes.extend(routes_of(resource).with_context(|| format!("function {name}"))?);
                }
                _ => {}
            }
        }
        let [table] =
            <[Table; 1]>::try_from(tables).map_err(|tables| anyhow!("has {} tables", tables.len()))?;
        let timeout = template["Globals"]["Function"]["Timeout"].as_u64();
        let timeout = timeout.context("has no Globals.Function.Timeout")?;
        Ok(Self { table, routes, timeout: Duration::from_secs(timeout) })
    }
}

fn defaults(parameters: &Value) -> Map<String, Value> {
    let defaults = parameters.as_object().into_iter().flatten();
    defaults.map(|(name, parameter)| (name.clone(), parameter["Default"].clone())).collect()
}

fn routes_of(function: &Value) -> Result<Vec<Route>> {
    let binary = function["Metadata"]["BuildProperties"]["Binary"].as_str();
    let binary = binary.context("has no Metadata.BuildProperties.Binary")?;
    let events = function["Properties"]["Events"].as_object().into_iter().flatten();
    let calls = events.filter(|(_, event)| event["Type"] == "HttpApi");
    let route = |(name, event): (&String, &Value)| {
        let text = |member: &str| {
            let value = event["Properties"][member].as_str();
            value.map(str::to_owned).with_context(|| format!("event {name} has no {member}"))
        };
        Ok(Route { method: text("Method")?, path: text("Path")?, binary: binary.to_owned() })
    };
    calls.map(route).collect()
}

/// The node as JSON, with what refers to `parameters` resolved.
fn resolve(node: &Yaml<'_>, parameters: &Map<String, Value>) -> Value {
    match node {
        Yaml::Mapping(mapping) => mapping
            .iter()
            .filter_map(|(key, value)| Some((key.as_str()?.to_owned(), resolve(value, parameters))))
            .collect(),
        Yaml::Sequence(sequence) => sequence.iter().map(|node| resolve(node, parameters)).collect(),
        Yaml::Value(scalar) => match scalar {
            Scalar::Null => Value::Null,
            Scalar::Boolean(value) => json!(value),
            Scalar::Integer(value) => json!(value),
            Scalar::FloatingPoint(value) => json!(value.to_string()),
            Scalar::String(value) => json!(value),
        },
        Yaml::Tagged(tag, node) => intrinsic(&tag.suffix, resolve(node, parameters), parameters),
        // Scalars with a tag of no YAML type, as CloudFormation's are, keep their text.
        Yaml::Representation(text, _, Some(tag)) => intrinsic(&tag.suffix, json!(text), parameters),
        Yaml::Representation(text, _, None) => json!(text),
        Yaml::Alias(_) | Yaml::BadValue => Value::Null,
    }
}

fn intrinsic(function: &str, argument: Value, parameters: &Map<String, Value>) -> Value {
    match (function, argument.as_str()) {
        ("Ref", Some(name)) => parameters.get(name).cloned().unwrap_or(json!({ "Ref": name })),
        ("Sub", Some(text)) => {
            let fill = |text: String, (name, value): (&String, &Value)| match value.as_str() {
                Some(value) => text.replace(&format!("${{{name}}}"), value),
                None => text,
            };
            json!(parameters.iter().fold(text.to_owned(), fill))
        }
        _ => json!({ (format!("Fn::{function}")): argument }),
    }
}

impl Table {
    /// Creates the table as defined, if `name` is not there yet.
    pub async fn create_if_absent(&self, client: &aws_sdk_dynamodb::Client, name: &str) -> Result<()> {
        let described = client.describe_table().table_name(name).send().await;
        match described {
            Ok(_) => return Ok(()),
            Err(error)
                if error.as_service_error().is_some_and(|error| error.is_resource_not_found_exception()) => {}
            Err(error) => return Err(error).context("could not look for the table"),
        }
        let attributes = self.attribute_definitions.iter().map(|attribute| {
            AttributeDefinition::builder()
                .attribute_name(&attribute.attribute_name)
                .attribute_type(attribute.attribute_type.as_str().into())
                .build()
        });
        let indexes = self.global_secondary_indexes.iter().map(|index| {
            let projection = Projection::builder()
                .projection_type(index.projection.projection_type.as_str().into())
                .build();
            let keys = key_schema(&index.key_schema)?;
            GlobalSecondaryIndex::builder()
                .index_name(&index.index_name)
                .set_key_schema(Some(keys))
                .projection(projection)
                .build()
        });
        let stream = StreamSpecification::builder()
            .stream_enabled(true)
            .stream_view_type(self.stream_specification.stream_view_type.as_str().into())
            .build()?;
        client
            .create_table()
            .table_name(name)
            .billing_mode(BillingMode::PayPerRequest)
            .set_attribute_definitions(Some(attributes.collect::<Result<_, _>>()?))
            .set_key_schema(Some(key_schema(&self.key_schema)?))
            .set_global_secondary_indexes(Some(indexes.collect::<Result<_, _>>()?))
            .stream_specification(stream)
            .send()
            .await
            .context("could not create the table")?;
        let expiry = TimeToLiveSpecification::builder()
            .enabled(true)
            .attribute_name(&self.time_to_live_specification.attribute_name)
            .build()?;
        let set =
            client.update_time_to_live().table_name(name).time_to_live_specification(expiry).send().await;
        set.context("could not set the table's expiry")?;
        Ok(())
    }
}

fn key_schema(keys: &[Key]) -> Result<Vec<KeySchemaElement>, aws_sdk_dynamodb::error::BuildError> {
    let element = |key: &Key| {
        KeySchemaElement::builder()
            .attribute_name(&key.attribute_name)
            .key_type(key.key_type.as_str().into())
            .build()
    };
    keys.iter().map(element).collect()
}

#[cfg(test)]
mod tests {
    use shared::store::attribute;

    use super::*;

    #[test]
    fn the_built_in_template_has_the_table_and_the_routes_that_the_code_knows() {
        let template = Template::built_in().unwrap();
        assert_eq!(template.table.table_name, "refunds-dev");
        let keys: Vec<&str> =
            template.table.key_schema.iter().map(|key| key.attribute_name.as_str()).collect();
        assert_eq!(keys, [attribute::PARTITION_KEY, attribute::SORT_KEY]);
        let index: Vec<&str> = template.table.global_secondary_indexes[0]
            .key_schema
            .iter()
            .map(|key| key.attribute_name.as_str())
            .collect();
        assert_eq!(index, [attribute::INDEX_PARTITION_KEY, attribute::INDEX_SORT_KEY]);
        assert_eq!(template.table.time_to_live_specification.attribute_name, attribute::EXPIRES);
        for (path, binary) in [
            ("/refundSingleWallet", "refund-single-wallet"),
            ("/autoBatchRefund", "auto-batch-refund"),
            ("/api/WebInterface/YearCard/EPay/Refund/BeginSingle", "begin-single-refund"),
            ("/api/WebInterface/YearCard/EPay/Refund/EndSingle/Success", "end-single-refund"),
        ] {
            let route = Route { method: "POST".to_owned(), path: path.to_owned(), binary: binary.to_owned() };
            assert!(template.routes.contains(&route), "{:?}", template.routes);
        }
    }

    #[test]
    fn a_template_without_a_table_or_with_a_nameless_function_is_refused() {
        let function = "Resources:\n  F:\n    Type: AWS::Serverless::Function\n    Properties: {}\n";
        for (text, reason) in [("Resources: {}", "has 0 tables"), (function, "function F"), ("", "is empty")]
        {
            let error = Template::read(text).unwrap_err();
            assert!(format!("{error:#}").contains(reason), "{error:#}");
        }
    }
}
