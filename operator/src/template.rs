//! template.yaml, the one place where routes and table are defined, read for the local stack.
//!
//! The binary carries the template it was built with. Intrinsic functions are resolved as far as the
//! local stack needs them: `!Ref` and `!Sub` of parameters; the others stay what they are.

use std::collections::HashMap;
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
    pub workers: Vec<Worker>,
    /// What each function may do with the table, by the name of its binary.
    pub grants: HashMap<String, Vec<Grant>>,
    /// The functions' binaries, and their names as resources.
    pub functions: Vec<(String, String)>,
    /// Of every function that is called.
    pub timeout: Duration,
}

/// Actions on the table that a function's policy allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// Such as `dynamodb:GetItem`.
    pub actions: Vec<String>,
    /// Whether they are on the index, and not on the table itself.
    pub is_on_index: bool,
    /// What the partition keys must be like, `*` for anything.
    pub leading_keys: Vec<String>,
    /// Patterns of keys that are not among them all the same.
    pub unlike_keys: Vec<String>,
}

/// A function that nobody calls, with one of the things that run it.
#[derive(Debug, Clone, PartialEq)]
pub struct Worker {
    /// The binary that is run.
    pub binary: String,
    pub timeout: Duration,
    pub trigger: Trigger,
}

/// What runs a function.
#[derive(Debug, Clone, PartialEq)]
pub enum Trigger {
    /// The table's changes that any of the filters' patterns lets through, so many at once.
    Stream {
        filters: Vec<Value>,
        batch_size: usize,
    },
    Schedule {
        every: Duration,
        input: String,
    },
}

/// One route of the HTTP API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    pub method: String,
    pub path: String,
    /// The binary that answers it.
    pub binary: String,
    /// Whether the gateway lets in only requests that are signed for AWS.
    pub is_signed: bool,
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
        let mut workers = Vec::new();
        let mut grants = HashMap::new();
        let mut functions = Vec::new();
        let timeout = template["Globals"]["Function"]["Timeout"].as_u64();
        for (name, resource) in resources {
            match resource["Type"].as_str() {
                Some("AWS::DynamoDB::Table") => {
                    let table = Table::deserialize(&resource["Properties"]);
                    tables.push(table.with_context(|| format!("table {name}"))?);
                }
                Some("AWS::Serverless::Function") => {
                    routes.extend(routes_of(resource).with_context(|| format!("function {name}"))?);
                    let of_function = workers_of(resource, timeout);
                    workers.extend(of_function.with_context(|| format!("function {name}"))?);
                    let of_function = grants_of(resource).with_context(|| format!("function {name}"))?;
                    grants.insert(binary_of(resource)?.to_owned(), of_function);
                    functions.push((binary_of(resource)?.to_owned(), name.clone()));
                }
                _ => {}
            }
        }
        let [table] =
            <[Table; 1]>::try_from(tables).map_err(|tables| anyhow!("has {} tables", tables.len()))?;
        let timeout = timeout.context("has no Globals.Function.Timeout")?;
        Ok(Self { table, routes, workers, grants, functions, timeout: Duration::from_secs(timeout) })
    }
}

fn defaults(parameters: &Value) -> Map<String, Value> {
    let defaults = parameters.as_object().into_iter().flatten();
    defaults.map(|(name, parameter)| (name.clone(), parameter["Default"].clone())).collect()
}

fn binary_of(function: &Value) -> Result<&str> {
    let binary = function["Metadata"]["BuildProperties"]["Binary"].as_str();
    binary.context("has no Metadata.BuildProperties.Binary")
}

fn workers_of(function: &Value, timeout: Option<u64>) -> Result<Vec<Worker>> {
    let binary = binary_of(function)?;
    let timeout = function["Properties"]["Timeout"].as_u64().or(timeout).context("has no Timeout")?;
    let mut workers = Vec::new();
    for (name, event) in function["Properties"]["Events"].as_object().into_iter().flatten() {
        let properties = &event["Properties"];
        let trigger = match event["Type"].as_str() {
            Some("DynamoDB") => stream_of(properties),
            Some("Schedule") => schedule_of(properties),
            _ => continue,
        };
        let trigger = trigger.with_context(|| format!("event {name}"))?;
        workers.push(Worker { binary: binary.to_owned(), timeout: Duration::from_secs(timeout), trigger });
    }
    Ok(workers)
}

fn stream_of(event: &Value) -> Result<Trigger> {
    let filters = event["FilterCriteria"]["Filters"].as_array().context("has no filters")?;
    let pattern =
        |filter: &Value| Ok(serde_json::from_str(filter["Pattern"].as_str().context("no pattern")?)?);
    let batch_size = event["BatchSize"].as_u64().context("has no BatchSize")?;
    Ok(Trigger::Stream {
        filters: filters.iter().map(pattern).collect::<Result<_>>()?,
        batch_size: usize::try_from(batch_size)?,
    })
}

fn grants_of(function: &Value) -> Result<Vec<Grant>> {
    let policies = function["Properties"]["Policies"].as_array().into_iter().flatten();
    let statements = policies.flat_map(|policy| policy["Statement"].as_array().into_iter().flatten());
    let mut grants = Vec::new();
    for statement in statements {
        let actions = texts(&statement["Action"])?;
        if !actions.iter().all(|action| action.starts_with("dynamodb:")) {
            continue;
        }
        if statement["Effect"] != "Allow" {
            return Err(anyhow!("an effect other than Allow is not known"));
        }
        let is_on_index = match &statement["Resource"] {
            table if table["Fn::GetAtt"] == "Table.Arn" => false,
            index if index == "${Table.Arn}/index/gsi1" => true,
            other => return Err(anyhow!("the resource {other} is not known")),
        };
        let condition = &statement["Condition"];
        let known = ["ForAllValues:StringLike", "ForAllValues:StringNotLike"];
        let operators = condition.as_object().context("has no condition")?;
        if let Some(unknown) = operators.keys().find(|operator| !known.contains(&operator.as_str())) {
            return Err(anyhow!("the condition {unknown} is not known"));
        }
        let unlike = match &condition["ForAllValues:StringNotLike"]["dynamodb:LeadingKeys"] {
            Value::Null => Vec::new(),
            keys => texts(keys)?,
        };
        grants.push(Grant {
            actions,
            is_on_index,
            leading_keys: texts(&condition["ForAllValues:StringLike"]["dynamodb:LeadingKeys"])?,
            unlike_keys: unlike,
        });
    }
    Ok(grants)
}

/// A text, or a list of them.
fn texts(node: &Value) -> Result<Vec<String>> {
    let texts = node.as_array().map_or_else(|| vec![node], |list| list.iter().collect());
    texts.into_iter().map(|text| Ok(text.as_str().context("is no text")?.to_owned())).collect()
}

/// Of a schedule such as `rate(1 minute)`.
fn schedule_of(event: &Value) -> Result<Trigger> {
    let schedule = event["Schedule"].as_str().context("has no Schedule")?;
    let rate = schedule.strip_prefix("rate(").and_then(|rate| rate.strip_suffix(')'));
    let (count, unit) = rate.and_then(|rate| rate.split_once(' ')).context("its schedule is no rate")?;
    let seconds = match unit.trim_end_matches('s') {
        "minute" => 60,
        "hour" => 60 * 60,
        other => return Err(anyhow!("a rate in {other}s is not known")),
    };
    let input = event["Input"].as_str().context("has no Input")?.to_owned();
    Ok(Trigger::Schedule { every: Duration::from_secs(count.parse::<u64>()? * seconds), input })
}

fn routes_of(function: &Value) -> Result<Vec<Route>> {
    let binary = binary_of(function)?;
    let events = function["Properties"]["Events"].as_object().into_iter().flatten();
    let calls = events.filter(|(_, event)| event["Type"] == "HttpApi");
    let route = |(name, event): (&String, &Value)| {
        let text = |member: &str| {
            let value = event["Properties"][member].as_str();
            value.map(str::to_owned).with_context(|| format!("event {name} has no {member}"))
        };
        let is_signed = match &event["Properties"]["Auth"]["Authorizer"] {
            Value::Null => false,
            authorizer if authorizer == "AWS_IAM" => true,
            other => return Err(anyhow!("event {name}: the authorizer {other} is not known")),
        };
        Ok(Route { method: text("Method")?, path: text("Path")?, binary: binary.to_owned(), is_signed })
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
        for (method, path, binary) in [
            ("POST", "/refundSingleWallet", "refund-single-wallet"),
            ("POST", "/autoBatchRefund", "auto-batch-refund"),
            ("POST", "/api/WebInterface/YearCard/EPay/Refund/BeginSingle", "begin-single-refund"),
            ("POST", "/api/WebInterface/YearCard/EPay/Refund/EndSingle/Success", "end-single-refund"),
            ("POST", "/v1/batch_refunds", "create-batch-refund"),
            ("GET", "/v1/batch_refunds", "list-batch-refunds"),
            ("GET", "/v1/batch_refunds/{id}", "retrieve-batch-refund"),
            ("POST", "/entries", "record-entries"),
        ] {
            let route = Route {
                method: method.to_owned(),
                path: path.to_owned(),
                binary: binary.to_owned(),
                // Providers have protocols of their own; the operator's systems have AWS's.
                is_signed: binary == "record-entries",
            };
            assert!(template.routes.contains(&route), "{:?}", template.routes);
        }
        assert_eq!(template.routes.len(), 8);
        assert!(!TEMPLATE.contains("AWS_SAM_LOCAL"), "it opens what must be signed");
    }

    #[test]
    fn the_worker_runs_on_the_changes_it_settles_and_tells_and_once_a_minute() {
        let template = Template::built_in().unwrap();
        let [changes, sweep] = &template.workers[..] else { panic!("{:?}", template.workers) };
        assert_eq!((changes.binary.as_str(), sweep.binary.as_str()), ("settle-refunds", "settle-refunds"));
        assert!(changes.timeout.as_secs() < 120, "it takes a batch on for two minutes");
        let input = settle_refunds::SWEEP.to_owned();
        assert_eq!(sweep.trigger, Trigger::Schedule { every: Duration::from_secs(60), input });
        let Trigger::Stream { filters, .. } = &changes.trigger else { panic!("{changes:?}") };
        for (pk, state, is_wanted) in [
            ("pingpp#a#test#batches#1608", "created", true),
            ("pingpp#a#test#ch_1", "succeeded", true),
            ("pingpp#a#test#batches#1608", "settling", false),
            ("ebet#1#p", "created", false),
        ] {
            let change =
                json!({"dynamodb": {"Keys": {"pk": {"S": pk}}, "NewImage": {"state": {"S": state}}}});
            let passes = filters.iter().any(|filter| crate::local::matches(filter, &change));
            assert_eq!(passes, is_wanted, "{change}");
        }
    }

    /// The template as it is written, with nothing resolved.
    fn written() -> Value {
        resolve(Yaml::load_from_str(TEMPLATE).unwrap().first().unwrap(), &Map::new())
    }

    /// Every part of a template that is a call of `function`.
    fn calls_of<'a>(function: &str, node: &'a Value) -> Vec<&'a Value> {
        let parts: Vec<&Value> = match node {
            Value::Object(members) => members.values().collect(),
            Value::Array(values) => values.iter().collect(),
            _ => Vec::new(),
        };
        let own = node.get(function);
        own.into_iter().chain(parts.into_iter().flat_map(|part| calls_of(function, part))).collect()
    }

    /// What a parameter may be, where it is not free.
    fn allowed<'a>(template: &'a Value, parameter: &str) -> Option<Vec<&'a str>> {
        let parameter = &template["Parameters"][parameter];
        assert!(parameter.is_object(), "there is no parameter {parameter}");
        let values = parameter["AllowedValues"].as_array()?;
        Some(values.iter().map(|value| value.as_str().unwrap()).collect())
    }

    #[test]
    fn conditions_and_mappings_know_the_values_that_parameters_may_have_and_no_others() {
        let template = written();
        let mut compared = 0;
        for part in ["Conditions", "Rules", "Resources"] {
            for equals in calls_of("Fn::Equals", &template[part]) {
                let (parameter, value) = (equals[0]["Ref"].as_str().unwrap(), equals[1].as_str().unwrap());
                match allowed(&template, parameter) {
                    Some(values) => assert!(values.contains(&value), "{parameter} is never {value}"),
                    // Of a free one only whether it was given is asked.
                    None => {
                        let default = &template["Parameters"][parameter]["Default"];
                        let default = default.as_str().map_or_else(|| default.to_string(), str::to_owned);
                        assert_eq!(default, value, "{parameter}");
                    }
                }
                compared += 1;
            }
        }
        assert!(compared > 5, "{compared}");
        let lookups = calls_of("Fn::FindInMap", &template);
        assert!(!lookups.is_empty());
        for lookup in lookups {
            let (map, parameter) = (lookup[0].as_str().unwrap(), lookup[1]["Ref"].as_str().unwrap());
            let mut keys: Vec<&String> = template["Mappings"][map].as_object().unwrap().keys().collect();
            let mut values = allowed(&template, parameter).unwrap();
            keys.sort();
            values.sort_unstable();
            assert_eq!(keys, values, "{map}");
        }
        for switch in calls_of("Fn::If", &template) {
            assert!(template["Conditions"].get(switch[0].as_str().unwrap()).is_some(), "{switch}");
        }
    }

    #[test]
    fn sam_local_replaces_variables_that_the_template_has() {
        let text = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/sam-local.json"));
        let file: Value = serde_json::from_str(text).unwrap();
        let template = written();
        let variables = template["Globals"]["Function"]["Environment"]["Variables"].as_object().unwrap();
        for name in file["Parameters"].as_object().unwrap().keys() {
            assert!(variables.contains_key(name), "{name}: the SAM CLI knows no other");
        }
    }

    #[test]
    fn samconfig_has_every_stage_and_gives_parameters_what_they_may_be() {
        let template = written();
        let text = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../samconfig.toml"));
        let config: Value = toml::from_str(text).unwrap();
        for stage in allowed(&template, "Stage").unwrap() {
            assert_eq!(config[stage]["global"]["parameters"]["stack_name"], format!("refunds-{stage}"));
            let deploy = &config[stage]["deploy"]["parameters"];
            let overrides = deploy["parameter_overrides"].as_array().unwrap();
            let overrides: Vec<(&str, &str)> =
                overrides.iter().map(|pair| pair.as_str().unwrap().split_once('=').unwrap()).collect();
            assert!(overrides.contains(&("Stage", stage)));
            for (parameter, value) in &overrides {
                assert!(allowed(&template, parameter).is_none_or(|values| values.contains(value)), "{value}");
            }
            assert_eq!(overrides.contains(&("CanaryReleases", "true")), stage == "prod");
            // Where others' money is, someone looks at what is about to change.
            assert_eq!(deploy["confirm_changeset"] == true, stage != "dev", "{stage}");
            assert!(deploy["tags"].as_array().unwrap().contains(&json!(format!("stage={stage}"))));
        }
    }

    #[test]
    fn functions_answer_before_their_gateway_cuts_and_every_route_is_throttled_and_has_an_output() {
        let (template, built_in) = (written(), Template::built_in().unwrap());
        assert!(built_in.timeout.as_secs() <= 29);
        assert!(built_in.workers.iter().all(|worker| worker.timeout.as_secs() <= 29));
        let api = &template["Resources"]["Api"]["Properties"];
        let routes: Vec<String> =
            built_in.routes.iter().map(|route| format!("{} {}", route.method, route.path)).collect();
        for route in api["RouteSettings"].as_object().unwrap().keys() {
            assert!(routes.contains(route), "{route} is none");
        }
        assert!(api["DefaultRouteSettings"]["ThrottlingRateLimit"].is_number());
        let outputs = template["Outputs"].to_string();
        for route in &built_in.routes {
            // What is asked by an id stands below its list.
            let path = route.path.trim_end_matches("/{id}");
            assert!(outputs.contains(&format!("{path}\"")), "{path}");
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
