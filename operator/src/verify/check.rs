//! Whether the facts of a group agree. Pure: they may come from a whole table that was read, or of a few items that are
//! read again.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use shared::ledger::{Account, AccountKey, Amount, Balance, Chain, ChainBreach, exact_decimal};

use super::breach::{Breach, Kind};
use super::fact::{
    ApplicationFact, BatchFact, BatchStateFact, Fact, Group, ItemFact, PostingFact, RefundFact, RefundState,
    Row, broken,
};

/// Breaches of one group that are told; the others are counted.
const BREACHES_TOLD: usize = 20;

/// A balance as facts have it.
pub fn balance(text: &str) -> Option<Balance> {
    exact_decimal(text).ok().map(Balance::recorded)
}

/// Checks a group by its facts, which are in their order.
///
/// # Errors
/// If they can't be read; none of the checks fails.
pub fn check(group: &Group, rows: impl IntoIterator<Item = Result<Row>>) -> Result<Vec<Breach>> {
    let rows = rows.into_iter();
    let mut breaches = match group {
        // The one group that may be of any size.
        Group::Account(path) => return check_account(path, rows),
        Group::Item(..) => {
            rows.filter_map(|row| row.map(|row| broken(&row)).transpose()).collect::<Result<_>>()?
        }
        Group::Batch(tenant, id) => check_batch(tenant, id, &rows.collect::<Result<Vec<_>>>()?),
        Group::Charge(path) => check_charge(path, &rows.collect::<Result<Vec<_>>>()?),
        Group::Application(path) => check_application(path, &rows.collect::<Result<Vec<_>>>()?),
        Group::Number(path) => check_number(path, &rows.collect::<Result<Vec<_>>>()?),
        Group::Request(path) => check_request(path, &rows.collect::<Result<Vec<_>>>()?),
        Group::Tenant(tenant) => check_tenant(tenant, &rows.collect::<Result<Vec<_>>>()?),
        Group::Secret(_) => check_secret(&rows.collect::<Result<Vec<_>>>()?),
        Group::Months(tenant) => check_months(tenant, &rows.collect::<Result<Vec<_>>>()?),
    };
    shorten(&mut breaches);
    Ok(breaches)
}

fn shorten(breaches: &mut Vec<Breach>) {
    let more = breaches.len().saturating_sub(BREACHES_TOLD);
    breaches.truncate(BREACHES_TOLD);
    tell_more(breaches, more as u64);
}

fn tell_more(breaches: &mut [Breach], more: u64) {
    if let Some(last) = breaches.last_mut().filter(|_| more > 0) {
        last.what.push_str(&format!("; and {more} more like these"));
        last.more = more;
    }
}

// ---- accounts ----

/// An account, from its opening along its postings to what it holds. One fact at a time.
fn check_account(path: &str, rows: impl Iterator<Item = Result<Row>>) -> Result<Vec<Breach>> {
    let mut breaches = Vec::new();
    let mut walk: Option<(Account, Chain, Row)> = None;
    let mut last: Option<Row> = None;
    let (mut orphans, mut more) = (0, 0);
    for row in rows {
        let row = row?;
        match (&row.fact, &mut walk) {
            (Fact::Account { .. }, _) => match account(path, &row) {
                Some(account) => {
                    let chain = Chain::of(&account);
                    if account.sequence == 0 && account.head != chain.head() {
                        let what = "its head is not that of its opening balance".to_owned();
                        breaches.push(Breach::new(Kind::ChangedOpening, what, [&row]));
                    }
                    walk = Some((account, chain, row.clone()));
                }
                None => breaches.push(Breach::new(Kind::DamagedItem, "the account can't be read", [&row])),
            },
            (Fact::Posting(_), None) => {
                orphans += 1;
                if orphans == 1 {
                    let what = format!("there is no account {path}");
                    breaches.push(Breach::new(Kind::PostingWithoutAccount, what, [&row]));
                }
            }
            (Fact::Posting(posting), Some((account, chain, _))) => {
                breaches.extend(pass(posting, account, chain, &row, last.as_ref()));
                last = Some(row);
            }
            (Fact::Anchor { .. }, None) => {
                let what = format!("account {path} is gone");
                breaches.push(Breach::of_keys(Kind::LostSinceAnchor, what, vec![row.key.clone()]));
            }
            (Fact::Anchor { sequence, head }, Some((_, chain, _))) => {
                let here = chain.found();
                let (kind, what) = match here == *sequence {
                    true if head.hash() == Some(chain.head()) => continue,
                    true => (
                        Kind::RewrittenSinceAnchor,
                        format!("its chain up to posting {sequence} is another one"),
                    ),
                    false => (
                        Kind::LostSinceAnchor,
                        format!("it had {sequence} postings, and has {here} of these"),
                    ),
                };
                breaches.push(Breach::of_keys(kind, what, vec![row.key.clone()]));
            }
            _ => {}
        }
        if breaches.len() > BREACHES_TOLD {
            more += (breaches.len() - BREACHES_TOLD) as u64;
            breaches.truncate(BREACHES_TOLD);
        }
    }
    tell_more(&mut breaches, more);
    if orphans > 1
        && let Some(first) = breaches.first_mut()
    {
        first.what.push_str(&format!("; it would have {orphans} postings"));
    }
    if let Some((account, chain, row)) = &walk
        && let Err(breach) = chain.end(account)
    {
        breaches.extend(end_breach(&breach, account, chain, row));
    }
    Ok(breaches)
}

fn account(path: &str, row: &Row) -> Option<Account> {
    let Fact::Account { currency, balance: holds, opening, sequence, head } = &row.fact else { return None };
    Some(Account {
        key: AccountKey::recorded(path),
        currency: currency.parse().ok()?,
        balance: balance(holds)?,
        opening: balance(opening)?,
        sequence: *sequence,
        head: head.hash()?,
    })
}

/// Passes one posting on the way; what is wrong with it.
fn pass(
    fact: &PostingFact,
    account: &Account,
    chain: &mut Chain,
    row: &Row,
    last: Option<&Row>,
) -> Option<Breach> {
    let Some((posting, is_vouched_for)) = fact.read(account) else {
        return Some(Breach::new(Kind::DamagedItem, "its posting can't be read", [row]));
    };
    let sequence = posting.sequence;
    let both = || last.into_iter().chain([row]);
    Some(match chain.next(&posting, is_vouched_for).err()? {
        ChainBreach::Number { expected, found } if found < expected => {
            let what = format!("there is more than one posting {found} of {}", account.key);
            Breach::new(Kind::DuplicatePosting, what, both())
        }
        ChainBreach::Number { expected, found } => {
            let what = match found - expected {
                1 => format!("posting {expected} of {} is missing", account.key),
                _ => format!("postings {expected} to {} of {} are missing", found - 1, account.key),
            };
            Breach::new(Kind::MissingPosting, what, both())
        }
        ChainBreach::Link { .. } if sequence == 1 => {
            let what = format!("posting 1 does not follow the opening balance of {}", account.key);
            let account = (account.key.to_string(), "ACCOUNT".to_owned());
            Breach::of_keys(Kind::ChangedOpening, what, vec![account, row.key.clone()])
        }
        ChainBreach::Link { .. } => {
            let what = format!("posting {sequence} of {} does not follow the one before it", account.key);
            Breach::new(Kind::ReorderedPosting, what, both())
        }
        _ => {
            let what = format!("posting {sequence} of {} is not what its hash vouches for", account.key);
            Breach::new(Kind::ChangedPosting, what, [row])
        }
    })
}

fn end_breach(breach: &ChainBreach, account: &Account, chain: &Chain, row: &Row) -> Option<Breach> {
    let (kind, what) = match breach {
        ChainBreach::Account { recorded, found, .. } if recorded > found => {
            let what = match recorded - found {
                1 => format!("posting {recorded} is missing"),
                _ => format!("postings {} to {recorded} are missing", found + 1),
            };
            (Kind::MissingPosting, what)
        }
        ChainBreach::Account { recorded, found, .. } if recorded < found => {
            (Kind::WrongHead, format!("it says that it has {recorded} postings, and has {found}"))
        }
        ChainBreach::Account { balance, sum, .. } => {
            (Kind::WrongBalance, format!("it says that it holds {balance}; its postings come to {sum}"))
        }
        // Said before, of the opening.
        _ if chain.found() == 0 => return None,
        _ => (Kind::WrongHead, "its head is not its last posting's hash".to_owned()),
    };
    Some(Breach::new(kind, format!("account {}: {what}", account.key), [row]))
}

// ---- batches of refunds ----

#[derive(Default)]
struct OfBatch<'a> {
    numbers: Vec<(&'a Row, &'a str)>,
    /// By the refund.
    holds: BTreeMap<&'a str, (&'a Row, &'a str, u64, &'a [String; 3])>,
    refunds: BTreeMap<&'a str, (&'a Row, &'a str, u64, RefundState)>,
}

fn check_batch(tenant: &str, id: &str, rows: &[Row]) -> Vec<Breach> {
    let mut found = OfBatch::default();
    let mut batch = None;
    let mut breaches = Vec::new();
    for row in rows {
        match &row.fact {
            Fact::Batch(fact) => batch = Some((row, fact)),
            Fact::Number { fingerprint } => found.numbers.push((row, fingerprint)),
            Fact::Hold { refund, charge, amount, of } => {
                if let Some((other, ..)) = found.holds.insert(refund, (row, charge, *amount, of)) {
                    let what = format!("{refund} is held of two charges");
                    breaches.push(Breach::new(Kind::HoldWithoutBatch, what, [other, row]));
                }
            }
            Fact::Refund { refund, charge, amount, state } => {
                if let Some((other, ..)) = found.refunds.insert(refund, (row, charge, *amount, *state)) {
                    let what = format!("{refund} is on record of two charges");
                    breaches.push(Breach::new(Kind::RefundWithoutBatch, what, [other, row]));
                }
            }
            _ => {}
        }
    }
    let Some((row, batch)) = batch else {
        let month = id.get(2..6).unwrap_or_default();
        let what = format!("there is no batch {tenant}#batches#{month} {id}");
        for (number, _) in found.numbers {
            breaches.push(Breach::new(Kind::GuardWithoutOwner, &what, [number]));
        }
        for (hold, ..) in found.holds.values() {
            breaches.push(Breach::new(Kind::HoldWithoutBatch, &what, [*hold]));
        }
        for (refund, ..) in found.refunds.values() {
            breaches.push(Breach::new(Kind::RefundWithoutBatch, &what, [*refund]));
        }
        return breaches;
    };
    check_batch_guard(row, batch, &found, &mut breaches);
    check_batch_items(row, batch, &found, &mut breaches);
    check_batch_money(row, batch, &found, &mut breaches);
    breaches
}

fn check_batch_guard(row: &Row, batch: &BatchFact, found: &OfBatch<'_>, breaches: &mut Vec<Breach>) {
    let is_void = batch.state == BatchStateFact::Void;
    let own = found.numbers.iter().filter(|(number, _)| number.key.0 == batch.number).count();
    if !is_void && own == 0 {
        breaches.push(Breach::new(
            Kind::RefundWithoutGuard,
            format!("{} does not name the batch", batch.number),
            [row],
        ));
    }
    for (number, fingerprint) in &found.numbers {
        if *fingerprint != batch.fingerprint {
            let what = "it is for another request than its batch";
            breaches.push(Breach::new(Kind::GuardWithoutOwner, what, [*number, row]));
        }
    }
    for (number, _) in found.numbers.iter().filter(|(number, _)| is_void || number.key.0 != batch.number) {
        let what = match is_void {
            true => "its batch was taken back: the number must be free",
            false => "its batch has another number",
        };
        breaches.push(Breach::new(Kind::GuardWithoutOwner, what, [*number, row]));
    }
}

fn check_batch_items(row: &Row, batch: &BatchFact, found: &OfBatch<'_>, breaches: &mut Vec<Breach>) {
    use BatchStateFact::{Created, Creating, Failed, PartiallySucceeded, Settling, Succeeded, Void};
    for (position, item) in batch.items.iter().enumerate() {
        let hold = found.holds.get(item.refund.as_str());
        let refund = found.refunds.get(item.refund.as_str());
        let others = [hold.map(|hold| (hold.0, hold.1, hold.2)), refund.map(|of| (of.0, of.1, of.2))];
        for (other, charge, amount) in others.into_iter().flatten() {
            if (charge, amount) != (item.charge.as_str(), item.amount) {
                let what =
                    format!("{}: {amount} of {charge}, and the batch says {}", item.refund, item.amount);
                breaches.push(Breach::new(Kind::ChangedAmount, what, [other, row]));
            }
        }
        let state = refund.map(|refund| refund.3);
        let is_decided = matches!(state, Some(RefundState::Succeeded | RefundState::Failed));
        let is_held = hold.is_some();
        let must_hold = match batch.state {
            Creating => position < batch.held_at_once,
            Created => true,
            Settling => !is_decided,
            Void | Succeeded | PartiallySucceeded | Failed => false,
        };
        if must_hold && !is_held {
            let what = format!("nothing is held of {} for {}", item.charge, item.refund);
            let charge = (item.charge.clone(), "PAYMENT".to_owned());
            let keys = vec![row.key.clone(), charge];
            breaches.push(Breach::of_keys(Kind::BatchWithoutHolds, what, keys));
        }
        if let Some((hold, .., of)) = hold.filter(|hold| *hold.3 != item.of) {
            let what = format!(
                "{}: its charge is {}, and the batch says {}",
                item.refund,
                of.join(" "),
                item.of.join(" ")
            );
            breaches.push(Breach::new(Kind::ContradictingState, what, [*hold, row]));
        }
        if let (false, Some((hold, ..))) = (must_hold, hold) {
            let what = format!("{} is held for {}, which is over", item.amount, item.refund);
            breaches.push(Breach::new(Kind::HoldWithoutBatch, what, [*hold, row]));
        }
        let contradiction = match (batch.state, state) {
            (Creating | Created | Void, Some(_)) => Some("its batch has not begun to be settled"),
            (Succeeded, Some(RefundState::Succeeded)) | (Failed, Some(RefundState::Failed)) => None,
            (PartiallySucceeded, Some(RefundState::Succeeded | RefundState::Failed)) => None,
            (Succeeded | PartiallySucceeded | Failed, None) => Some("its batch has ended without it"),
            (Succeeded | PartiallySucceeded | Failed, Some(_)) => Some("its batch has ended otherwise"),
            _ => None,
        };
        if let Some(what) = contradiction {
            let rows = refund.map(|refund| refund.0).into_iter().chain([row]);
            breaches.push(Breach::new(Kind::ContradictingState, format!("{}: {what}", item.refund), rows));
        }
    }
    let is_ended_partially = batch.state == PartiallySucceeded;
    let states: BTreeSet<u8> = found.refunds.values().map(|refund| refund.3 as u8).collect();
    if is_ended_partially && states.len() < 2 && found.refunds.len() == batch.items.len() {
        let what = "it says that it has partially succeeded, and its refunds say otherwise";
        breaches.push(Breach::new(Kind::ContradictingState, what, [row]));
    }
    let of_batch: BTreeSet<&str> = batch.items.iter().map(|item| item.refund.as_str()).collect();
    for (refund, (hold, ..)) in found.holds.iter().filter(|(refund, _)| !of_batch.contains(**refund)) {
        let what = format!("its batch has no refund {refund}");
        breaches.push(Breach::new(Kind::HoldWithoutBatch, what, [*hold, row]));
    }
    for (refund, (of, ..)) in found.refunds.iter().filter(|(refund, _)| !of_batch.contains(**refund)) {
        let what = format!("its batch has no refund {refund}");
        breaches.push(Breach::new(Kind::RefundWithoutBatch, what, [*of, row]));
    }
}

/// What was taken is what the refunds come to, and what was given back what the failed ones do.
fn check_batch_money(row: &Row, batch: &BatchFact, found: &OfBatch<'_>, breaches: &mut Vec<Breach>) {
    let mut due: BTreeMap<&str, u64> = BTreeMap::new();
    for item in &batch.items {
        let of_source = due.entry(&item.source).or_default();
        *of_source = of_source.saturating_add(item.amount);
    }
    let mut taken: BTreeMap<&str, u64> = BTreeMap::new();
    for (source, amount) in &batch.holds {
        let of_source = taken.entry(source).or_default();
        *of_source = of_source.saturating_add(*amount);
    }
    if due != taken {
        let what = format!("its refunds come to {}, and it took {}", sums(&due), sums(&taken));
        breaches.push(Breach::new(Kind::ChangedAmount, what, [row]));
    }
    let by_id: BTreeMap<&str, &ItemFact> =
        batch.items.iter().map(|item| (item.refund.as_str(), item)).collect();
    let mut given = BTreeSet::new();
    for (source, amount, refunds) in &batch.releases {
        let mut sum: u64 = 0;
        for refund in refunds {
            let item = by_id.get(refund.as_str()).filter(|item| item.source == *source);
            let Some(item) = item else {
                let what =
                    format!("it gave back to {source} for {refund}, which is none of its refunds there");
                breaches.push(Breach::new(Kind::ContradictingState, what, [row]));
                continue;
            };
            sum = sum.saturating_add(item.amount);
            if !given.insert(refund.as_str()) {
                let what = format!("it gave back twice for {refund}");
                breaches.push(Breach::new(Kind::ContradictingState, what, [row]));
            }
        }
        if sum != *amount {
            let what = format!("it gave back {amount} to {source} for refunds of {sum}");
            breaches.push(Breach::new(Kind::ChangedAmount, what, [row]));
        }
    }
    for item in &batch.items {
        let refund = item.refund.as_str();
        let has_failed = found.refunds.get(refund).is_some_and(|refund| refund.3 == RefundState::Failed);
        let may = has_failed || batch.state == BatchStateFact::Void;
        let must = batch.state == BatchStateFact::Void || has_failed && batch.state.has_ended();
        if given.contains(refund) && !may {
            let what = format!("it gave back for {refund}, which has not failed");
            breaches.push(Breach::new(Kind::ContradictingState, what, [row]));
        }
        if must && !given.contains(refund) {
            let what = format!("it did not give back for {refund}, which has failed");
            breaches.push(Breach::new(Kind::ContradictingState, what, [row]));
        }
    }
}

impl BatchStateFact {
    fn has_ended(self) -> bool {
        matches!(self, Self::Succeeded | Self::PartiallySucceeded | Self::Failed)
    }
}

fn sums(sums: &BTreeMap<&str, u64>) -> String {
    let each: Vec<String> = sums.iter().map(|(source, sum)| format!("{sum} of {source}")).collect();
    if each.is_empty() { "nothing".to_owned() } else { each.join(", ") }
}

// ---- charges ----

fn check_charge(path: &str, rows: &[Row]) -> Vec<Breach> {
    let charge = rows.iter().find_map(|row| match row.fact {
        Fact::Charge { amount, refunded, before, held, paid } => {
            Some((row, amount, refunded, before, held, paid))
        }
        _ => None,
    });
    let refunds = || {
        rows.iter().filter_map(|row| match row.fact {
            Fact::Refunded { amount } => Some((row, amount)),
            _ => None,
        })
    };
    let Some((row, amount, refunded, before, held, paid)) = charge else {
        let breach =
            |row| Breach::new(Kind::RefundWithoutPayment, format!("there is no charge {path}"), [row]);
        return refunds().map(|(row, _)| breach(row)).collect();
    };
    let mut breaches = Vec::new();
    let succeeded = refunds().fold(0_u64, |sum, (_, amount)| sum.saturating_add(amount));
    if refunded != before.saturating_add(succeeded) {
        let what = format!("it says {refunded} refunded; {before} were before, and {succeeded} were since");
        breaches.push(Breach::new(Kind::ChangedAmount, what, [row]));
    }
    if !paid && (refunded > 0 || held > 0) {
        let what = format!("{refunded} refunded and {held} held of what is not paid");
        breaches.push(Breach::new(Kind::ContradictingState, what, [row]));
    }
    if refunded.saturating_add(held) > amount
        || before.saturating_add(succeeded).saturating_add(held) > amount
    {
        let what =
            format!("{refunded} refunded and {held} held of {amount}; its refunds come to {succeeded}");
        let all = [row].into_iter().chain(refunds().map(|(row, _)| row));
        breaches.push(Breach::new(Kind::AbovePayment, what, all));
    }
    breaches
}

// ---- applications ----

fn check_application(path: &str, rows: &[Row]) -> Vec<Breach> {
    let mut breaches = Vec::new();
    let application = rows.iter().find_map(|row| match &row.fact {
        Fact::Application { paid, state, failures } => Some((row, paid, state, *failures)),
        _ => None,
    });
    let guards: Vec<(&Row, &RefundFact, Option<u64>)> = rows
        .iter()
        .filter_map(|row| match &row.fact {
            Fact::Guard { refund, failed_at } => Some((row, refund, *failed_at)),
            _ => None,
        })
        .collect();
    let failed: Vec<(&Row, &RefundFact, u64)> = rows
        .iter()
        .filter_map(|row| match &row.fact {
            Fact::Failed { refund, at } => Some((row, refund, *at)),
            _ => None,
        })
        .collect();
    let Some((row, paid, state, failures)) = application else {
        let what = format!("there is no application {path}");
        breaches.extend(guards.iter().map(|guard| Breach::new(Kind::GuardWithoutOwner, &what, [guard.0])));
        breaches
            .extend(failed.iter().map(|failed| Breach::new(Kind::RefundWithoutPayment, &what, [failed.0])));
        return breaches;
    };
    let present = match state {
        ApplicationFact::Processing(refund) | ApplicationFact::Done(refund) => Some(refund),
        ApplicationFact::Requested | ApplicationFact::Withdrawn => None,
    };
    let paid_amount = paid.parse::<Amount>().ok();
    for refund in present.into_iter().chain(failed.iter().map(|(_, refund, _)| *refund)) {
        if refund.amount.parse::<Amount>().ok() > paid_amount {
            let what = format!("{} is to be refunded of {paid}, under {}", refund.amount, refund.batch_no);
            breaches.push(Breach::new(Kind::AbovePayment, what, [row]));
        }
    }
    if failures != failed.len() as u64 {
        let what = format!("{failures} of its refunds have failed, and {} are on record", failed.len());
        let all = [row].into_iter().chain(failed.iter().map(|(row, ..)| *row));
        breaches.push(Breach::new(Kind::ContradictingState, what, all));
    }
    if let Some(refund) = present
        && !guards.iter().any(|(_, guard, failed_at)| *guard == refund && failed_at.is_none())
    {
        let what = format!("{} does not name its refund", refund.number);
        let keys = vec![row.key.clone(), (refund.number.clone(), "GUARD".to_owned())];
        breaches.push(Breach::of_keys(Kind::RefundWithoutGuard, what, keys));
    }
    for (failed, refund, at) in &failed {
        if !guards.iter().any(|(_, guard, failed_at)| *guard == *refund && *failed_at == Some(*at)) {
            let what = format!("nothing under {} says that its refund has failed", refund.batch_no);
            breaches.push(Breach::new(Kind::RefundWithoutGuard, what, [*failed, row]));
        }
        if failed.key.1 != format!("FAILED#{}", refund.batch_no) {
            let what = format!("it is of {}, and stands under another number", refund.batch_no);
            breaches.push(Breach::new(Kind::GuardWithoutOwner, what, [*failed]));
        }
    }
    for (guard, refund, failed_at) in &guards {
        let is_owned = match failed_at {
            Some(at) => failed.iter().any(|(_, failed, when)| failed == refund && when == at),
            None => present == Some(*refund),
        };
        if is_owned {
            continue;
        }
        let (kind, what) = match state {
            ApplicationFact::Withdrawn if failed_at.is_none() => {
                (Kind::WithdrawnAndRefunded, "its application is withdrawn")
            }
            _ => (Kind::GuardWithoutOwner, "its application has no such refund"),
        };
        breaches.push(Breach::new(kind, format!("{}: {what}", refund.batch_no), [*guard, row]));
    }
    breaches
}

fn check_number(path: &str, rows: &[Row]) -> Vec<Breach> {
    let confirmed: Vec<(&str, &str)> = rows
        .iter()
        .filter_map(|row| match &row.fact {
            Fact::Confirmed { trade_no, amount, .. } => Some((trade_no.as_str(), amount.as_str())),
            _ => None,
        })
        .collect();
    let mut breaches = Vec::new();
    let counted = rows.iter().find_map(|row| match row.fact {
        Fact::Confirmed { further: Some(further), .. } => Some((row, further)),
        _ => None,
    });
    let is_further = |row: &&Row| matches!(row.fact, Fact::Confirmed { further: None, .. });
    let further = rows.iter().filter(is_further).count() as u64;
    match (counted, rows.iter().find(is_further)) {
        (None, Some(row)) => {
            let what = format!("the first confirmation under {path} is gone");
            breaches.push(Breach::new(Kind::ContradictingState, what, [row]));
        }
        (Some((row, counted)), _) if counted != further => {
            let what = format!("of {counted} further confirmations under {path} {further} are on record");
            breaches.push(Breach::new(Kind::ContradictingState, what, [row]));
        }
        _ => {}
    }
    for row in rows {
        let Fact::Completed { trade_no, amount, refund } = &row.fact else { continue };
        if !confirmed.contains(&(trade_no.as_str(), amount.as_str())) {
            let what =
                format!("no confirmation of {amount} by trade number {trade_no} is on record under {path}");
            breaches.push(Breach::new(Kind::ContradictingState, what, [row]));
        }
        if amount != refund {
            let what = format!("its refund is of {refund}, and {amount} was confirmed");
            breaches.push(Breach::new(Kind::ChangedAmount, what, [row]));
        }
    }
    breaches
}

// ---- what others rest on ----

fn check_request(path: &str, rows: &[Row]) -> Vec<Breach> {
    if rows.iter().any(|row| row.fact == Fact::Request) {
        return Vec::new();
    }
    // One that was asked again late was recorded at its first refund.
    let of_request = |is_kept| rows.iter().find(|row| row.fact == Fact::OfRequest { is_kept });
    match (of_request(true), of_request(false)) {
        (Some(row), None) => {
            let what = format!("its request {path} has no record, which is still kept");
            vec![Breach::new(Kind::MissingRecord, what, [row])]
        }
        _ => Vec::new(),
    }
}

/// A secret names those who have it, and nobody else.
fn check_secret(rows: &[Row]) -> Vec<Breach> {
    let secret = rows.iter().find_map(|row| match &row.fact {
        Fact::Secret { names, is_shared } => Some((row, names, *is_shared)),
        _ => None,
    });
    // An app's id stands behind its provider.
    let has = |row: &Row, name: &str, is_shared: bool| match &row.fact {
        Fact::HasSecret { tenant } if is_shared => tenant.split('#').nth(1) == Some(name),
        Fact::HasSecret { tenant } => tenant == name,
        _ => false,
    };
    let mut breaches = Vec::new();
    for row in rows.iter().filter(|row| matches!(row.fact, Fact::HasSecret { .. })) {
        let named =
            secret.filter(|(_, names, is_shared)| names.iter().any(|name| has(row, name, *is_shared)));
        if named.is_none() {
            let what = "it has a secret that does not name it".to_owned();
            let rows = secret.map(|(secret, ..)| secret).into_iter().chain([row]);
            breaches.push(Breach::new(Kind::WrongSecret, what, rows));
        }
    }
    // A merchant's secret opens nothing unless its settings list it.
    if let Some((secret, names, true)) = secret {
        for name in names.iter().filter(|name| !rows.iter().any(|row| has(row, name, true))) {
            let what = format!("it names {name}, which does not have it");
            breaches.push(Breach::new(Kind::WrongSecret, what, [secret]));
        }
    }
    breaches
}

fn check_tenant(tenant: &str, rows: &[Row]) -> Vec<Breach> {
    let settings = rows.iter().find_map(|row| match &row.fact {
        Fact::Tenant { currency } => Some(currency),
        _ => None,
    });
    let breach = |row: &Row| {
        let Fact::OfTenant { currency } = &row.fact else { return None };
        match settings {
            None => Some(Breach::new(Kind::WithoutTenant, format!("there is no tenant {tenant}"), [row])),
            // That its settings can't be read is said of them.
            Some(None) => None,
            Some(Some(of_tenant)) => {
                let other = currency.as_ref().filter(|currency| *currency != of_tenant)?;
                let what = format!("it is in {other}, and {tenant} in {of_tenant}");
                Some(Breach::new(Kind::WrongCurrency, what, [row]))
            }
        }
    };
    rows.iter().filter_map(breach).collect()
}

fn check_months(tenant: &str, rows: &[Row]) -> Vec<Breach> {
    let named: BTreeSet<&String> = rows
        .iter()
        .filter_map(|row| match &row.fact {
            Fact::Months { months } => Some(months),
            _ => None,
        })
        .flatten()
        .collect();
    let breach = |row: &Row| {
        let Fact::OfMonth { month } = &row.fact else { return None };
        let what = format!("{tenant}#batches does not name month {month}: no list finds its batches");
        (!named.contains(month)).then(|| Breach::new(Kind::UnlistedBatch, what, [row]))
    };
    rows.iter().filter_map(breach).collect()
}
