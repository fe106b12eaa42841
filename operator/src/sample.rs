//! `refundctl sample`: wallets and debits of any number, for trying and measuring. The same options give the
//! same lines.

use std::io::{self, BufWriter, ErrorKind, Write};

use anyhow::Result;
use clap::Args;
use serde_json::json;
use shared::ebet::ChannelId;

pub const EXAMPLES: &str = "\
Examples:
  refundctl sample | refundctl import - --yes --reason 'to try it'
  refundctl sample --debits 10000 --players 2000 | refundctl import - --yes --reason 'to try it'
  refundctl send auto-batch-refund --items 10000 --players 2000    ask for these debits
  refundctl sample --debits 1000000 > facts.jsonl

The channel must exist: the local stack's demo data has channel 1.";

#[derive(Debug, Args)]
pub struct Options {
    /// Players, each with a wallet
    #[arg(long, value_name = "M", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..))]
    players: u64,
    /// Debits of all players together
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    debits: u64,
    /// Channel of the players
    #[arg(long, value_name = "ID", default_value = "1")]
    channel: ChannelId,
    /// Another seed gives other bets and amounts
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
}

pub fn command(options: &Options) -> Result<()> {
    let sample = Sample { channel: options.channel.0, players: options.players, seed: options.seed };
    let written = sample.write(options.debits, &mut BufWriter::new(io::stdout().lock()));
    match written {
        // Whoever reads has seen enough.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => Ok(written?),
    }
}

/// Players of one channel and their bets, made of a seed.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    pub channel: u64,
    pub players: u64,
    pub seed: u64,
}

/// A bet that took its money.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bet {
    pub username: String,
    pub seq_no: String,
    pub round_code: String,
    pub amount: String,
}

impl Sample {
    /// Bets of a player that are of one round.
    const BETS_PER_ROUND: u64 = 4;
    /// Largest amount of a bet, and of a wallet at its start, in hundredths.
    const CENTS_MAX: u64 = 100_000;

    /// The bet of this number, from 0; the players take turns.
    pub fn bet(&self, number: u64) -> Bet {
        let (player, turn) = (number % self.players, number / self.players);
        let mut chance = self.chance(1, number);
        Bet {
            username: username(player),
            seq_no: format!("{:032x}", chance.u128(..)),
            round_code: format!("S1-{player}-{}", turn / Self::BETS_PER_ROUND),
            amount: money(chance.u64(1..=Self::CENTS_MAX)),
        }
    }

    /// Import lines: all wallets, then this many debits.
    pub fn write(&self, debits: u64, out: &mut impl Write) -> io::Result<()> {
        for player in 0..self.players {
            let balance = money(self.chance(0, player).u64(0..=Self::CENTS_MAX));
            let line = json!({"kind": "wallet", "channelId": self.channel, "username": username(player),
                              "balance": balance});
            writeln!(out, "{line}")?;
        }
        for bet in (0..debits).map(|number| self.bet(number)) {
            let line = json!({"kind": "debit", "channelId": self.channel, "username": bet.username,
                              "seqNo": bet.seq_no, "roundCode": bet.round_code, "amount": bet.amount});
            writeln!(out, "{line}")?;
        }
        out.flush()
    }

    /// Chance that depends on the seed, on what it is for, and on the number of that.
    fn chance(&self, what: u64, number: u64) -> fastrand::Rng {
        let mut chance = fastrand::Rng::with_seed(self.seed);
        let start = chance.u64(..).wrapping_add(what << 48).wrapping_add(number);
        fastrand::Rng::with_seed(start)
    }
}

fn username(player: u64) -> String {
    format!("player{player:06}")
}

fn money(cents: u64) -> String {
    format!("{}.{:02}", cents / 100, cents % 100)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn lines(sample: Sample, debits: u64) -> Vec<String> {
        let mut text = Vec::new();
        sample.write(debits, &mut text).unwrap();
        String::from_utf8(text).unwrap().lines().map(str::to_owned).collect()
    }

    #[test]
    fn the_same_options_give_the_same_lines_and_another_seed_gives_others() {
        let sample = Sample { channel: 1, players: 3, seed: 1 };
        let written = lines(sample, 10);
        assert_eq!(written.len(), 13);
        assert_eq!(written, lines(sample, 10));
        assert_eq!(
            written[3],
            r#"{"amount":"688.00","channelId":1,"kind":"debit","roundCode":"S1-0-0","seqNo":"b50c63ed8389dd70463fcd5d1c342cd3","username":"player000000"}"#,
        );
        assert_ne!(written, lines(Sample { seed: 2, ..sample }, 10));
        assert_eq!(written[..], lines(sample, 20)[..13], "more debits are more lines");
    }

    #[test]
    fn every_bet_has_a_number_of_its_own() {
        let sample = Sample { channel: 1, players: 100, seed: 7 };
        let ids: HashSet<String> = (0..100_000).map(|number| sample.bet(number).seq_no).collect();
        assert_eq!(ids.len(), 100_000);
    }
}
