//! Cases of EPay's calls: bodies and answers in any format, byte by byte.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use refundctl::application::{fail, withdraw};
use refundctl::screen::hex;
use refundctl::send::epay::DEMO_API_KEY;
use serde::Deserialize;
use serde_json::value::RawValue;
use shared::epay::MerchantId;
use shared::ledger::{ApplicationState, Standing};
use shared::store::KeptConfirmation;

use super::said;
use crate::world::{World, epay_event};

pub type File = super::File<Step, After>;
type Case = super::Case<Step, After>;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Step {
    // A call, with its body in one of two ways.
    to: Option<String>,
    #[serde(rename = "type", deserialize_with = "said")]
    content_type: Option<Option<String>>,
    accept: Option<String>,
    #[serde(deserialize_with = "said")]
    key: Option<Option<String>>,
    body: Option<Box<RawValue>>,
    hex: Option<String>,

    // Its answer.
    status: Option<u16>,
    answer_type: Option<String>,
    answer: Option<Box<RawValue>>,
    answer_hex: Option<String>,

    // Or what an operator does, and why it is refused.
    withdraw: Option<i64>,
    fail: Option<(i64, String)>,
    refused: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct After {
    /// Nothing in the table is other than before.
    unchanged: bool,
    /// `requested`, `processing BATCHNO AMOUNT to ACCOUNT`, `done BATCHNO AMOUNT by TRADENO`, or `withdrawn`, by
    /// number, of merchant `demo`.
    applications: BTreeMap<i64, String>,
    /// `AMOUNT by TRADENO`, and why it completed nothing, sorted, by batch number.
    confirmations: BTreeMap<String, Vec<String>>,
}

impl File {
    /// Plays a case of `function` in a fresh world.
    ///
    /// # Errors
    /// Says what is other than the case says.
    pub async fn play(&self, function: &str, case: &Case) -> Result<()> {
        let world = World::new().await;
        world.import(&self.before(case)).await;
        let before = world.dump().await;
        for (number, step) in (1..).zip(&case.steps) {
            step.play(&world, function).await.with_context(|| format!("step {number}"))?;
        }
        if case.after.unchanged {
            ensure!(world.dump().await == before, "something changed in the table");
        }
        world.ensure_whole().await?;
        let demo: MerchantId = "demo".parse()?;
        for (autoid, wanted) in &case.after.applications {
            let history = world.session().application_history(&demo.application(*autoid)).await?;
            let history = history.with_context(|| format!("no application {autoid}"))?;
            let found = describe(&history.application.state);
            ensure!(&found == wanted, "application {autoid} is {found} instead of {wanted}");
        }
        for (batch_no, wanted) in &case.after.confirmations {
            let history = world.session().batch_history(&demo.batch(batch_no.parse()?)).await?;
            let mut found: Vec<String> = history.confirmations.iter().map(describe_confirmation).collect();
            found.sort();
            ensure!(&found == wanted, "confirmations of {batch_no} are {found:?} instead of {wanted:?}");
        }
        Ok(())
    }
}

impl Step {
    async fn play(&self, world: &World, function: &str) -> Result<()> {
        let demo: MerchantId = "demo".parse()?;
        let session = world.session();
        let told = match (self.withdraw, &self.fail) {
            (Some(autoid), _) => withdraw(&session, &demo, autoid, None).await,
            (_, Some((autoid, batch_no))) => {
                fail(&session, &demo, *autoid, &batch_no.parse()?, None, &[]).await
            }
            _ => return self.call(world, function).await,
        };
        match (&self.refused, told) {
            (None, told) => told.map(|_| ()),
            (Some(wanted), Err(error)) if error.to_string().contains(wanted) => Ok(()),
            (Some(wanted), told) => anyhow::bail!("came to {told:?} instead of {wanted:?}"),
        }
    }

    async fn call(&self, world: &World, function: &str) -> Result<()> {
        let instance = world.instance_of(self.to.as_deref().unwrap_or(function));
        let json = Some("application/json".to_owned());
        let content_type = self.content_type.clone().unwrap_or(json);
        let key = self.key.clone().unwrap_or(Some(DEMO_API_KEY.to_owned()));
        let headers = [("content-type", content_type), ("accept", self.accept.clone()), ("x-api-key", key)];
        let headers: Vec<_> =
            headers.iter().filter_map(|(name, value)| Some((*name, value.as_deref()?))).collect();
        let body = bytes(self.body.as_deref(), self.hex.as_deref())?;
        let answer = instance.call_event(&epay_event(&headers, &body).to_string()).await;
        let got = answer.bytes();

        let status = self.status.unwrap_or(200);
        let wanted = bytes(self.answer.as_deref(), self.answer_hex.as_deref())?;
        let readable = |bytes: &[u8]| match self.answer_hex {
            Some(_) => hex(bytes),
            None => String::from_utf8_lossy(bytes).into_owned(),
        };
        ensure!(
            answer.status_code == status && got == wanted,
            "answered {}\n{}\ninstead of {status}\n{}",
            answer.status_code,
            readable(&got),
            readable(&wanted)
        );
        let answer_type = self.answer_type.as_deref().unwrap_or("application/json; charset=utf-8");
        ensure!(answer.content_type() == answer_type, "answered as {}", answer.content_type());
        Ok(())
    }
}

/// A text, the text of a JSON value as it stands in the file, or bytes by their hexadecimal digits.
fn bytes(text: Option<&RawValue>, hex: Option<&str>) -> Result<Vec<u8>> {
    let Some(hex) = hex else {
        let raw = text.map_or("\"\"", RawValue::get);
        return Ok(serde_json::from_str::<String>(raw).unwrap_or_else(|_| raw.to_owned()).into_bytes());
    };
    let digits: Vec<u8> = hex.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let byte =
        |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair)?, 16).context("no hexadecimal digits");
    digits.chunks(2).map(byte).collect()
}

fn describe_confirmation(kept: &KeptConfirmation) -> String {
    let KeptConfirmation { confirmation, standing } = kept;
    let came_to = match standing {
        Standing::Completed => String::new(),
        Standing::Pending => ", pending".to_owned(),
        Standing::Mismatched(mismatch) => format!(", {}", mismatch.as_str()),
    };
    format!("{} by {}{came_to}", confirmation.amount, confirmation.trade_no)
}

fn describe(state: &ApplicationState) -> String {
    match state {
        ApplicationState::Requested => "requested".to_owned(),
        ApplicationState::Processing(refund) => {
            format!("processing {} {} to {}", refund.batch_no, refund.amount, refund.account)
        }
        ApplicationState::Done { refund, completion } => {
            format!("done {} {} by {}", refund.batch_no, refund.amount, completion.confirmation.trade_no)
        }
        ApplicationState::Withdrawn(_) => "withdrawn".to_owned(),
    }
}
