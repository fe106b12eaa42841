//! Cases of Ping++'s calls: JSON in, JSON out, with names for what each play makes anew.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use settle_refunds::{SWEEP, SettleRefunds};
use shared::edge::Invocation;
use shared::ledger::FundingSource;
use shared::pingpp::{AppId, LogBus, Mode};

use super::said;
use crate::pingpp::{KEY, Told, refused};
use crate::world::{World, event_of, no_faults};

pub type File = super::File<Step, After>;
type Case = super::Case<Step, After>;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Step {
    /// The path and query of a GET; without it, the body is posted.
    get: Option<String>,
    /// The whole Authorization header; null is none.
    #[serde(deserialize_with = "said")]
    authorization: Option<Option<String>>,
    headers: BTreeMap<String, String>,
    body: Option<Box<RawValue>>,
    status: Option<u16>,
    answer: Option<Value>,

    /// Or the open batches are settled: what payment channels say of charges, by their transaction numbers.
    settle: Option<BTreeMap<String, Said>>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Said {
    Yes,
    No,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct After {
    /// Nothing in the table is other than before.
    unchanged: bool,
    /// `REFUNDED refunded, HELD held`, by charge of app `app_1` in test mode.
    charges: BTreeMap<String, String>,
    /// Balances, by funding source of this app.
    funds: BTreeMap<String, String>,
}

impl File {
    /// Plays a case in a fresh world.
    ///
    /// # Errors
    /// Says what is other than the case says.
    pub async fn play(&self, case: &Case) -> Result<()> {
        let world = World::new().await;
        world.import(&self.before(case)).await;
        let before = world.dump().await;
        let mut names = HashMap::new();
        for (number, step) in (1..).zip(&case.steps) {
            step.play(&world, &mut names).await.with_context(|| format!("step {number}"))?;
        }
        if case.after.unchanged {
            ensure!(world.dump().await == before, "something changed in the table");
        }
        world.ensure_whole().await?;
        let app: AppId = "app_1".parse()?;
        for (id, wanted) in &case.after.charges {
            let charge = world.session().charge(&app.charge(Mode::Test, id.parse()?)).await?;
            let charge = charge.with_context(|| format!("no charge {id}"))?;
            let found = format!("{} refunded, {} held", charge.refunded, charge.held());
            ensure!(&found == wanted, "charge {id} has {found} instead of {wanted}");
        }
        for (source, wanted) in &case.after.funds {
            let source: FundingSource = source.parse()?;
            let account = world.session().funds(&app.tenant(Mode::Test), source).await?;
            let found = account.with_context(|| format!("no {}", source.as_str()))?.balance.to_string();
            ensure!(&found == wanted, "{} are {found} instead of {wanted}", source.as_str());
        }
        Ok(())
    }
}

impl Step {
    async fn play(&self, world: &World, names: &mut HashMap<String, Value>) -> Result<()> {
        if let Some(said) = &self.settle {
            return settle(world, said).await;
        }
        let uri = self.get.as_deref().unwrap_or("/v1/batch_refunds");
        let uri = names
            .iter()
            .fold(uri.to_owned(), |uri, (name, value)| uri.replace(name, value.as_str().unwrap_or_default()));
        let (method, function) = match (&self.get, uri.contains("/batch_refunds/")) {
            (None, _) => ("POST", "create-batch-refund"),
            (Some(_), true) => ("GET", "retrieve-batch-refund"),
            (Some(_), false) => ("GET", "list-batch-refunds"),
        };
        let authorization = self.authorization.clone().unwrap_or(Some(format!("Bearer {KEY}")));
        let mut headers: Vec<(&'static str, &str)> = Vec::new();
        headers.extend(authorization.as_deref().map(|value| ("authorization", value)));
        for (name, value) in &self.headers {
            let known = ["content-type", "pingplusplus-signature", "pingplusplus-request-timestamp"];
            let name = known.into_iter().find(|known| known == name).context("no such header is known")?;
            headers.push((name, value));
        }
        // A text that is no JSON stands as a JSON text.
        let body = self.body.as_deref().map_or("", RawValue::get);
        let body = serde_json::from_str::<String>(body).unwrap_or_else(|_| body.to_owned());
        let event = event_of(method, &uri, &headers, body.as_bytes());
        let answer = world.instance_of(function).call_event(&event.to_string()).await;

        let got: Value = serde_json::from_slice(&answer.bytes()).context("the answer is no JSON")?;
        let status = self.status.unwrap_or(200);
        ensure!(answer.status_code == status, "answered {} instead of {status}: {got}", answer.status_code);
        ensure!(answer.content_type() == "application/json", "answered as {}", answer.content_type());
        match &self.answer {
            Some(wanted) => same(wanted, &got, names, "answer").with_context(|| format!("answered {got}")),
            None => Ok(()),
        }
    }
}

/// The worker's sweep.
async fn settle(world: &World, said: &BTreeMap<String, Said>) -> Result<()> {
    let channel = Told::default();
    for (charge, said) in said {
        if let Said::No = said {
            channel.tell(charge, refused());
        }
    }
    let (store, _wire) = world.store_of("settle-refunds", no_faults());
    let worker = SettleRefunds::new(store, Arc::new(channel), Arc::new(LogBus));
    let ends = SystemTime::now() + Duration::from_secs(50);
    worker.work(SWEEP, &Invocation { request_id: "case".to_owned(), ends }).await?;
    Ok(())
}

/// Whether an answer is what is wanted, member by member; `<name>` is whatever comes first, and the same from then on.
fn same(wanted: &Value, got: &Value, names: &mut HashMap<String, Value>, place: &str) -> Result<()> {
    match (wanted, got) {
        (Value::String(name), got) if name.starts_with('<') && name.ends_with('>') => {
            check_kind(name, got).with_context(|| place.to_owned())?;
            let known = names.entry(name.clone()).or_insert_with(|| got.clone());
            ensure!(known == got, "{place}: {name} was {known} before");
            Ok(())
        }
        (Value::Object(wanted), Value::Object(got)) => {
            let members = |object: &Map<String, Value>| object.keys().cloned().collect::<Vec<_>>();
            ensure!(members(wanted) == members(got), "{place} has members {:?}", members(got));
            for (name, member) in wanted {
                same(member, &got[name], names, &format!("{place}.{name}"))?;
            }
            Ok(())
        }
        (Value::Array(wanted), Value::Array(got)) => {
            ensure!(wanted.len() == got.len(), "{place} has {} values", got.len());
            for (number, (wanted, got)) in wanted.iter().zip(got).enumerate() {
                same(wanted, got, names, &format!("{place}[{number}]"))?;
            }
            Ok(())
        }
        _ => {
            ensure!(wanted == got, "{place} is {got} instead of {wanted}");
            Ok(())
        }
    }
}

/// What a name may stand for: batches' ids, refunds' ids, order numbers, times.
fn check_kind(name: &str, value: &Value) -> Result<()> {
    let letters = |text: &str, count: usize| {
        text.len() == count && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
    };
    let text = value.as_str().unwrap_or_default();
    let is_kind = match name.trim_matches(['<', '>']).trim_end_matches(|digit: char| digit.is_ascii_digit()) {
        "batch" => letters(text, 18) && text.starts_with("15"),
        "refund" => text.strip_prefix("re_").is_some_and(|rest| letters(rest, 24)),
        "order" => letters(text, 24),
        "time" => value.is_u64(),
        "url" => text.starts_with("https://"),
        other => bail!("nothing is known of the kind {other}"),
    };
    ensure!(is_kind, "{value} is no {name}");
    Ok(())
}
