//! What writing a line would come to, by what is on record now.

use std::collections::HashMap;

use anyhow::{Context, Result, bail};
use shared::entries::tenant_name;
use shared::ledger::{Account, Currency, DebitState, TenantKey};
use shared::store::{Content, Session, SettingsChange};

use super::line::{Fact, Line};
use super::{Outcome, Settings, account_outcome, other_settings};

/// What [`super::write`] would come to.
pub async fn look(
    session: &Session,
    line: &Line,
    currencies: &HashMap<TenantKey, Currency>,
    settings: &Settings,
) -> Result<Outcome> {
    let tenant = line.tenants().into_iter().next();
    Ok(match line {
        Line::Key { key, apps } => {
            let ids: Vec<String> = apps.iter().map(ToString::to_string).collect();
            let change = match session.shared_credential(&key.credential).await? {
                None => SettingsChange::Created,
                Some(named) if named == ids => SettingsChange::Unchanged,
                Some(_) if settings.replace => SettingsChange::Replaced,
                Some(_) => SettingsChange::Kept,
            };
            Outcome::of_settings(change, || "this key names other apps".to_owned())
        }
        Line::App { app, json, funds } => {
            let mut opens = false;
            for (source, balance) in funds {
                let account = Account::open(app.id.funds(app.mode, *source), app.currency.clone(), *balance);
                match look_for_account(session, &account, "account").await? {
                    Outcome::Conflict(why) => return Ok(Outcome::Conflict(why)),
                    outcome => opens |= matches!(outcome, Outcome::Created),
                }
            }
            match look_for_settings(session, &app.tenant(), json, settings).await? {
                Outcome::Unchanged if opens => Outcome::Created,
                outcome => outcome,
            }
        }
        Line::Merchant { json, credentials, merchant } => {
            let own = merchant.id.tenant();
            for credential in credentials {
                if session.credential(credential).await?.is_some_and(|owner| owner != own) {
                    return Ok(Outcome::Conflict(format!("a key of {} is another one's", tenant_name(&own))));
                }
            }
            look_for_settings(session, &own, json, settings).await?
        }
        Line::Channel { json, .. } => {
            let tenant = tenant.context("the line is nobody's")?;
            look_for_settings(session, &tenant, json, settings).await?
        }
        Line::Fact(fact) => look_for_fact(session, fact, currencies).await?,
    })
}

async fn look_for_settings(
    session: &Session,
    tenant: &TenantKey,
    json: &str,
    settings: &Settings,
) -> Result<Outcome> {
    let change = match session.settings(tenant).await? {
        None => SettingsChange::Created,
        Some(there) if there == json => SettingsChange::Unchanged,
        Some(_) if settings.replace => SettingsChange::Replaced,
        Some(_) => SettingsChange::Kept,
    };
    Ok(Outcome::of_settings(change, || other_settings(tenant)))
}

async fn look_for_account(session: &Session, account: &Account, what: &str) -> Result<Outcome> {
    Ok(match found(session, account.key.as_str(), "ACCOUNT").await? {
        None => Outcome::Created,
        Some(Content::Account(there)) => account_outcome(account, &there, what),
        Some(_) => bail!("{} is no account", account.key),
    })
}

async fn look_for_fact(
    session: &Session,
    fact: &Fact,
    currencies: &HashMap<TenantKey, Currency>,
) -> Result<Outcome> {
    Ok(match fact {
        Fact::Wallet { account, tenant, balance } => {
            let currency = currencies.get(tenant).context("its channel's currency is not known")?;
            let account = Account::open(account.clone(), currency.clone(), *balance);
            look_for_account(session, &account, "wallet").await?
        }
        Fact::Debit { debit, .. } => {
            let sort = format!("PAYMENT#{}", debit.key.id);
            match found(session, debit.key.account.as_str(), &sort).await? {
                None => Outcome::Created,
                Some(Content::Debit(there)) => {
                    let is_settled = matches!(debit.state, DebitState::Settled);
                    let difference = there.difference_from_past(&debit.round, debit.amount, is_settled);
                    Outcome::of_existing(difference, || format!("debit {}", debit.key.id))
                }
                Some(_) => Outcome::Due(debit.key.id.to_string()),
            }
        }
        Fact::Application(application) => match found(session, &application.key.path(), "PAYMENT").await? {
            Some(Content::Application(there)) => Outcome::of_existing(there.difference(application), || {
                format!("application {}", application.key.id)
            }),
            _ => Outcome::Created,
        },
        Fact::Charge(charge) => match session.charge(&charge.key).await? {
            None => Outcome::Created,
            Some(there) => {
                Outcome::of_existing(there.difference(charge), || format!("charge {}", charge.key.id))
            }
        },
    })
}

async fn found(session: &Session, partition: &str, sort: &str) -> Result<Option<Content>> {
    match session.stored(partition, sort).await?.map(|stored| stored.content) {
        Some(Err(damage)) => bail!("{partition} {sort} is damaged: {damage}"),
        found => Ok(found.and_then(Result::ok)),
    }
}
