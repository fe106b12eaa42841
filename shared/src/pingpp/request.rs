//! The body of `POST /v1/batch_refunds`, read member by member, so that the one at fault is named.

use std::collections::{BTreeMap, HashSet};

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::ApiError;
use crate::ledger::{
    AskedCharge, ChargeId, Fingerprint, FingerprintBuilder, FundingSource, MerchantBatchNo, MinorUnits,
};
use crate::limits;

/// What is asked for, whoever asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreateRequest {
    pub app: String,
    pub batch_no: MerchantBatchNo,
    pub description: String,
    /// A JSON object's text.
    pub metadata: String,
    pub items: Vec<AskedCharge>,
}

/// Unknown members are ignored, null is as good as absent.
#[derive(Deserialize)]
struct Members<'a> {
    #[serde(borrow)]
    app: Option<&'a RawValue>,
    #[serde(borrow)]
    batch_no: Option<&'a RawValue>,
    #[serde(borrow)]
    charges: Option<&'a RawValue>,
    #[serde(borrow)]
    description: Option<&'a RawValue>,
    #[serde(borrow)]
    metadata: Option<&'a RawValue>,
}

/// A charge that is more than its id.
#[derive(Deserialize)]
struct ChargeMembers<'a> {
    #[serde(borrow)]
    charge: Option<&'a RawValue>,
    #[serde(borrow)]
    amount: Option<&'a RawValue>,
    #[serde(borrow)]
    description: Option<&'a RawValue>,
    #[serde(borrow)]
    funding_source: Option<&'a RawValue>,
}

impl CreateRequest {
    /// # Errors
    /// Names the first member that breaks a rule.
    pub fn read(body: &[u8]) -> Result<Self, ApiError> {
        if body.len() > limits::BODY_BYTES_MAX {
            return Err(ApiError::unreadable("The body is too large."));
        }
        let not_json = || ApiError::unreadable("The body is not a JSON object.");
        let text = std::str::from_utf8(body).map_err(|_| not_json())?;
        // Skips over values without recursion, so depth costs no stack.
        let object: &RawValue = serde_json::from_str(text).map_err(|_| not_json())?;
        if !object.get().starts_with('{') {
            return Err(not_json());
        }
        let members: Members<'_> = serde_json::from_str(object.get())
            .map_err(|_| ApiError::unreadable("The body names a member twice."))?;
        let app = required_text("app", members.app, limits::TEXT_CHARS_MAX)?;
        let batch_no = required_text("batch_no", members.batch_no, limits::MERCHANT_BATCH_NO_CHARS_MAX)?;
        let is_batch_no = batch_no.len() >= limits::MERCHANT_BATCH_NO_CHARS_MIN
            && batch_no.bytes().all(|byte| byte.is_ascii_alphanumeric())
            && batch_no != "000";
        if !is_batch_no {
            return Err(ApiError::invalid(
                "batch_no",
                "batch_no must be 3 to 24 letters and digits, and not 000.",
            ));
        }
        let invalid = |_| ApiError::invalid("batch_no", "batch_no is invalid.");
        Ok(Self {
            app,
            batch_no: batch_no.parse().map_err(invalid)?,
            description: described("description", members.description)?
                .ok_or_else(|| ApiError::invalid("description", "description is missing."))?,
            items: items(members.charges)?,
            metadata: metadata(members.metadata)?,
        })
    }

    /// Over all that is asked for: another body under the same number has another one.
    pub fn fingerprint(&self) -> Fingerprint {
        let mut fingerprint = FingerprintBuilder::new("batchRefund/1");
        fingerprint.field(Some(&self.app));
        fingerprint.field(Some(&self.description));
        fingerprint.field(Some(&self.metadata));
        for item in &self.items {
            fingerprint.field(Some(item.charge.as_str()));
            fingerprint.field(item.amount.map(|amount| amount.to_string()).as_deref());
            fingerprint.field(item.description.as_deref());
            fingerprint.field(item.funding_source.map(FundingSource::as_str));
        }
        fingerprint.finish()
    }
}

/// A text of 1 to `chars_max` characters, if it is there.
fn text(param: &str, value: Option<&RawValue>, chars_max: usize) -> Result<Option<String>, ApiError> {
    let Some(value) = value else { return Ok(None) };
    let text: String = serde_json::from_str(value.get())
        .map_err(|_| ApiError::invalid(param, format!("{param} must be a string.")))?;
    match text.chars().count() {
        0 => Err(ApiError::invalid(param, format!("{param} is empty."))),
        count if count > chars_max => {
            Err(ApiError::invalid(param, format!("{param} has more than {chars_max} characters.")))
        }
        _ => Ok(Some(text)),
    }
}

fn required_text(param: &str, value: Option<&RawValue>, chars_max: usize) -> Result<String, ApiError> {
    let missing = || ApiError::invalid(param, format!("{param} is missing."));
    text(param, value, chars_max)?.ok_or_else(missing)
}

/// A description: of several lines, if need be; other control characters are nothing that a payment channel takes.
fn described(param: &str, value: Option<&RawValue>) -> Result<Option<String>, ApiError> {
    let text = text(param, value, limits::DESCRIPTION_CHARS_MAX)?;
    let is_taken = |character: char| !character.is_control() || "\t\n\r".contains(character);
    if text.as_ref().is_some_and(|text| !text.chars().all(is_taken)) {
        return Err(ApiError::invalid(param, format!("{param} has a control character.")));
    }
    Ok(text)
}

fn items(value: Option<&RawValue>) -> Result<Vec<AskedCharge>, ApiError> {
    let value = value.ok_or_else(|| ApiError::invalid("charges", "charges is missing."))?;
    let charges: Vec<&RawValue> = serde_json::from_str(value.get())
        .map_err(|_| ApiError::invalid("charges", "charges must be a list."))?;
    if !(1..=limits::CHARGES_PER_BATCH_MAX).contains(&charges.len()) {
        let message = format!("charges must name 1 to {} charges.", limits::CHARGES_PER_BATCH_MAX);
        return Err(ApiError::invalid("charges", message));
    }
    let mut named: HashSet<ChargeId> = HashSet::new();
    let mut items = Vec::with_capacity(charges.len());
    for (position, charge) in charges.into_iter().enumerate() {
        let item = item(position, charge)?;
        if !named.insert(item.charge.clone()) {
            let message = format!("Charge {} is named twice.", item.charge);
            return Err(ApiError::invalid(format!("charges[{position}]"), message));
        }
        items.push(item);
    }
    Ok(items)
}

/// A charge's id, or an object that has it.
fn item(position: usize, value: &RawValue) -> Result<AskedCharge, ApiError> {
    let param = |member: &str| format!("charges[{position}]{member}");
    let id = |param: &str, value: Option<&RawValue>| -> Result<ChargeId, ApiError> {
        let text = required_text(param, value, limits::TEXT_CHARS_MAX)?;
        text.parse().map_err(|error| ApiError::invalid(param, format!("{param} {error}.")))
    };
    if value.get().starts_with('"') {
        let charge = id(&param(""), Some(value))?;
        return Ok(AskedCharge { charge, amount: None, description: None, funding_source: None });
    }
    let not_one =
        || ApiError::invalid(param(""), format!("{} must be a charge's id, or an object.", param("")));
    if !value.get().starts_with('{') {
        return Err(not_one());
    }
    let members: ChargeMembers<'_> = serde_json::from_str(value.get())
        .map_err(|_| ApiError::invalid(param(""), format!("{} names a member twice.", param(""))))?;
    let charge = id(&param(".charge"), members.charge)?;
    let about = |error: ApiError| error.about(&charge);
    let amount = members.amount.map(|amount| self::amount(&param(".amount"), amount)).transpose();
    let amount = amount.map_err(about)?;
    let description = described(&param(".description"), members.description).map_err(about)?;
    let source = text(&param(".funding_source"), members.funding_source, limits::TEXT_CHARS_MAX);
    let source = source.map_err(about)?.map(|source| source.parse::<FundingSource>()).transpose();
    let funding_source = source.map_err(|error| {
        about(ApiError::invalid(param(".funding_source"), format!("funding_source {error}.")))
    })?;
    Ok(AskedCharge { charge, amount, description, funding_source })
}

fn amount(param: &str, value: &RawValue) -> Result<MinorUnits, ApiError> {
    let amount: Option<u64> = value.get().parse().ok();
    let amount = amount.ok_or_else(|| {
        ApiError::invalid(
            param,
            format!("{param} must be a whole number of the currency's smallest unit, more than 0."),
        )
    })?;
    MinorUnits::new(amount).map_err(|error| ApiError::invalid(param, format!("{param} {error}.")))
}

/// Flat pairs. Their text is the same whatever their order, and however the JSON is written: SDKs differ in escapes
/// and white space.
fn metadata(value: Option<&RawValue>) -> Result<String, ApiError> {
    let Some(value) = value else { return Ok("{}".to_owned()) };
    let invalid = |what: &str| ApiError::invalid("metadata", format!("metadata {what}."));
    if !value.get().starts_with('{') {
        return Err(invalid("must be an object"));
    }
    let Pairs(written) = serde_json::from_str(value.get()).map_err(|_| invalid("names a pair twice"))?;
    if written.len() > limits::METADATA_PAIRS_MAX {
        return Err(invalid("has too many pairs"));
    }
    let mut pairs: BTreeMap<&str, Box<RawValue>> = BTreeMap::new();
    for (name, value) in &written {
        pairs.insert(name, plain(value).map_err(invalid)?);
    }
    let text = serde_json::to_string(&pairs).map_err(|_| invalid("can't be kept"))?;
    if text.chars().count() > limits::METADATA_CHARS_MAX {
        return Err(invalid("is too long"));
    }
    Ok(text)
}

/// A value that has no others within: texts written one way, numbers as they are, so that none loses digits. One that is
/// too large for a double is refused: an answer with it could not be read by those who read them so.
fn plain(value: &RawValue) -> Result<Box<RawValue>, &'static str> {
    match value.get().as_bytes() {
        [b'{' | b'[', ..] => Err("must have no objects or lists within"),
        [b'"', ..] => serde_json::from_str::<String>(value.get())
            .and_then(|text| serde_json::value::to_raw_value(&text))
            .map_err(|_| "has a text that is none"),
        [b'-' | b'0'..=b'9', ..] if serde_json::from_str::<f64>(value.get()).is_err() => {
            Err("has a number that is too large")
        }
        _ => Ok(value.to_owned()),
    }
}

/// The members of an object, each of which is named once.
struct Pairs<'a>(BTreeMap<String, &'a RawValue>);

impl<'a> Deserialize<'a> for Pairs<'a> {
    fn deserialize<D: Deserializer<'a>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'a> Visitor<'a> for Members {
            type Value = Pairs<'a>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<Pairs<'a>, A::Error> {
                let mut pairs = BTreeMap::new();
                while let Some((name, value)) = map.next_entry()? {
                    if pairs.insert(name, value).is_some() {
                        return Err(serde::de::Error::custom("named twice"));
                    }
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(Members)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn document() -> Value {
        json!({
            "app": "app_abcdefghweqzadfs", "batch_no": "batchrefund20160801001",
            "description": "Batch refund description.",
            "charges": [
                {"charge": "ch_L8qn10mLmr1GS8e5OODmHaL4", "amount": 10, "description": "Batch refund description."},
                {"charge": "ch_fdOmHaLmLmr1GOD4qn1dS8e5", "amount": 10, "description": "Batch refund description."}
            ]
        })
    }

    fn read(body: &Value) -> Result<CreateRequest, ApiError> {
        CreateRequest::read(body.to_string().as_bytes())
    }

    #[test]
    fn the_documents_example_is_read() {
        let request = read(&document()).unwrap();
        assert_eq!((request.app.as_str(), request.metadata.as_str()), ("app_abcdefghweqzadfs", "{}"));
        assert_eq!(request.items.len(), 2);
        assert_eq!(request.items[1].charge.as_str(), "ch_fdOmHaLmLmr1GOD4qn1dS8e5");
        assert_eq!(request.items[1].amount, MinorUnits::new(10).ok());
    }

    #[test]
    fn a_charge_may_be_its_id_alone_and_null_is_as_good_as_absent() {
        let mut body = document();
        body["charges"] =
            json!(["ch_a", {"charge": "ch_b", "amount": null, "description": null, "funding_source": null}]);
        body["metadata"] = Value::Null;
        let request = read(&body).unwrap();
        for item in &request.items {
            assert_eq!((item.amount, &item.description, item.funding_source), (None, &None, None));
        }
    }

    #[test]
    fn the_first_member_at_fault_is_named() {
        let long = "x".repeat(256);
        let many: Vec<String> = (0..101).map(|number| format!("ch_{number}")).collect();
        let pairs: serde_json::Map<String, Value> = (0..11).map(|n| (n.to_string(), json!(n))).collect();
        for (pointer, value, param) in [
            ("/app", json!(1), "app"),
            ("/app", Value::Null, "app"),
            ("/batch_no", json!("ab"), "batch_no"),
            ("/batch_no", json!("000"), "batch_no"),
            ("/batch_no", json!("a".repeat(25)), "batch_no"),
            ("/batch_no", json!("批次1"), "batch_no"),
            ("/batch_no", json!("a b"), "batch_no"),
            ("/description", json!(""), "description"),
            ("/description", json!(long), "description"),
            ("/description", json!("a\u{1b}[2J"), "description"),
            ("/charges", json!([]), "charges"),
            ("/charges", json!(many), "charges"),
            ("/charges", json!("ch_a"), "charges"),
            ("/charges/1", json!(1), "charges[1]"),
            ("/charges/1", json!(["ch_a"]), "charges[1]"),
            ("/charges/1", json!("ch_L8qn10mLmr1GS8e5OODmHaL4"), "charges[1]"),
            ("/charges/1", json!({}), "charges[1].charge"),
            ("/charges/1/charge", json!("a\nb"), "charges[1].charge"),
            ("/charges/1/amount", json!(0), "charges[1].amount"),
            ("/charges/1/amount", json!(-1), "charges[1].amount"),
            ("/charges/1/amount", json!(1.5), "charges[1].amount"),
            ("/charges/1/amount", json!("10"), "charges[1].amount"),
            ("/charges/1/amount", json!(1_000_000_000_000_001u64), "charges[1].amount"),
            ("/charges/1/description", json!(long), "charges[1].description"),
            ("/charges/1/funding_source", json!("gold"), "charges[1].funding_source"),
            ("/metadata", json!([]), "metadata"),
            ("/metadata", json!({"a": {"b": 1}}), "metadata"),
            ("/metadata", json!({"a": "x".repeat(1_000)}), "metadata"),
            ("/metadata", Value::Object(pairs), "metadata"),
        ] {
            let mut body = document();
            body["metadata"] = Value::Null;
            body["charges"][1]["funding_source"] = Value::Null;
            *body.pointer_mut(pointer).unwrap() = value.clone();
            let refused = read(&body).unwrap_err();
            assert_eq!(
                (refused.kind.status(), refused.param.as_deref()),
                (400, Some(param)),
                "{pointer} = {value}"
            );
        }
        for body in ["", "[]", "null", "{\"app\":1,\"app\":2}", "{"] {
            assert_eq!(CreateRequest::read(body.as_bytes()).unwrap_err().param, None, "{body}");
        }
    }

    #[test]
    fn the_fingerprint_is_of_what_is_asked_and_of_nothing_else() {
        let same = |change: &dyn Fn(&mut Value)| {
            let mut body = document();
            change(&mut body);
            read(&body).unwrap().fingerprint() == read(&document()).unwrap().fingerprint()
        };
        assert!(same(&|body| body["unknown"] = json!(1)));
        assert!(same(&|body| body["metadata"] = json!({})));
        let metadata = |text: &str| {
            let raw: Box<RawValue> = RawValue::from_string(text.to_owned()).unwrap();
            metadata(Some(&raw)).map_err(|error| error.message)
        };
        let plain = metadata(r#"{"a":"退/款","b":1.10}"#).unwrap();
        assert_eq!(plain, r#"{"a":"退/款","b":1.10}"#);
        assert_eq!(metadata("{ \"b\" : 1.10,\n \"a\":\"\\u9000\\/\\u6b3e\" }").unwrap(), plain);
        let escaped = format!("{{\"a\":\"{}\"}}", "\\u9000".repeat(900));
        assert_eq!(metadata(&escaped).unwrap().chars().count(), 908, "characters count, not escapes");
        assert_eq!(metadata(r#"{"a":1,"a":2}"#), Err("metadata names a pair twice.".to_owned()));
        let too_large = Err("metadata has a number that is too large.".to_owned());
        for (number, told) in
            [("1e308", Ok(())), ("-1e309", too_large.clone()), ("1e-400", Ok(())), ("9e999", too_large)]
        {
            assert_eq!(metadata(&format!(r#"{{"a":{number}}}"#)).map(drop), told, "{number}");
        }
        for change in [
            &(|body: &mut Value| body["description"] = json!("another")) as &dyn Fn(&mut Value),
            &|body| body["metadata"] = json!({"a": 1}),
            &|body| body["charges"][0]["amount"] = json!(11),
            &|body| body["charges"][0]["amount"] = Value::Null,
            &|body| body["charges"][0]["charge"] = json!("ch_other"),
            &|body| body["charges"][0]["funding_source"] = json!("unsettled_funds"),
            &|body| body["charges"] = json!([body["charges"][0]]),
        ] {
            assert!(!same(change));
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = CreateRequest::read(&bytes);
        }
    }
}
