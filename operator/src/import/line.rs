//! One line of an import: parsed into what the ledger takes, or refused with the reason.

use std::fmt::Display;
use std::str::FromStr;

use anyhow::{Result, anyhow, bail};
use serde::Deserialize;
use shared::ebet::{Channel, ChannelId, ChannelSettings, Username};
use shared::ledger::{AccountKey, Balance, Debit, DebitKey, DebitState};

/// A line as it is written.
#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum Written {
    Channel(ChannelSettings),
    Wallet(WrittenWallet),
    Debit(WrittenDebit),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct WrittenWallet {
    channel_id: ChannelId,
    username: String,
    balance: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct WrittenDebit {
    channel_id: ChannelId,
    username: String,
    seq_no: String,
    round_code: String,
    amount: String,
    #[serde(default)]
    state: WrittenState,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum WrittenState {
    #[default]
    Open,
    Settled,
}

/// A line that can be written to the ledger.
#[derive(Debug)]
pub enum Line {
    Channel { channel: Channel, json: String },
    Wallet { channel: ChannelId, account: AccountKey, balance: Balance },
    Debit { channel: ChannelId, debit: Debit },
}

impl Line {
    /// # Errors
    /// Says what of the line is wrong.
    pub fn read(text: &str) -> Result<Self> {
        let written: Written = serde_json::from_str(text).map_err(reason)?;
        Ok(match written {
            Written::Channel(settings) => {
                let channel = Channel::new(&settings)?;
                Self::Channel { channel, json: serde_json::to_string(&settings)? }
            }
            Written::Wallet(wallet) => {
                let username: Username = member("username", &wallet.username)?;
                Self::Wallet {
                    channel: wallet.channel_id,
                    account: wallet.channel_id.wallet(&username),
                    balance: member("balance", &wallet.balance)?,
                }
            }
            Written::Debit(debit) => {
                let username: Username = member("username", &debit.username)?;
                let account = debit.channel_id.wallet(&username);
                let state = match debit.state {
                    WrittenState::Open => DebitState::Open,
                    WrittenState::Settled => DebitState::Settled,
                };
                Self::Debit {
                    channel: debit.channel_id,
                    debit: Debit {
                        key: DebitKey { account, id: member("seqNo", &debit.seq_no)? },
                        round: member("roundCode", &debit.round_code)?,
                        amount: member("amount", &debit.amount)?,
                        state,
                    },
                }
            }
        })
    }

    pub fn kind(&self) -> &'static str {
        match self {
            Self::Channel { .. } => "channel",
            Self::Wallet { .. } => "wallet",
            Self::Debit { .. } => "debit",
        }
    }

    /// What the line is about, the same for two lines about the same thing.
    pub fn name(&self) -> String {
        match self {
            Self::Channel { channel, .. } => format!("channel {}", channel.id),
            Self::Wallet { account, .. } => format!("wallet {account}"),
            Self::Debit { debit, .. } => format!("debit {} {}", debit.key.account, debit.key.id),
        }
    }
}

/// serde's words, less the place in the line: the line is named already.
fn reason(error: serde_json::Error) -> anyhow::Error {
    let text = error.to_string();
    anyhow!("{}", text.split(" at line ").next().unwrap_or(&text))
}

fn member<T: FromStr<Err: Display>>(name: &str, text: &str) -> Result<T> {
    match text.parse() {
        Ok(value) => Ok(value),
        Err(error) => bail!("{name} {text:?} {error}"),
    }
}

/// How a debit on record differs from the one to import. What became of it since is no difference.
pub fn difference(line: &Debit, there: &Debit) -> Option<String> {
    let id = &line.key.id;
    if line.amount != there.amount {
        return Some(format!("debit {id} took {}", there.amount));
    }
    if line.round != there.round {
        return Some(format!("debit {id} is of round {}", there.round));
    }
    match (&line.state, &there.state) {
        (DebitState::Settled, DebitState::Open) => Some(format!("debit {id} is open")),
        (DebitState::Settled, DebitState::Refunded(_)) => Some(format!("debit {id} was refunded")),
        _ => None,
    }
}
