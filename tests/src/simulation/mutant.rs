//! What is made wrong with the ledger on purpose, to see that a run finds it: a condition of one of its writes that is left
//! out, a write that is forgotten in its transaction, a retry that is made blind, and decisions that are taken wrongly.
//!
//! The first three are made where calls arrive, and there is one for every condition, action and conditional write that
//! any run has shown: a new one of the ledger has its mutants at once. The last are switches in the ledger itself, which
//! only builds for tests have.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;
use std::time::Duration;

use fastrand::Rng;
use serde_json::{Map, Value};
use shared::clock::milliseconds;
use shared::mutants::{self, Decision};
use shared::pingpp::TAKEN_FOR;

use super::weather::{FROZEN_MAX, Fate, Fault};
use crate::embedded::{actions, is_write, key_of_action};

/// A condition, by its write and its part.
type Part = (&'static str, &'static str);

/// Conditions that others imply, which are left out together with them: nothing that has not broken those can break them.
const IMPLIED: &[(Part, &[Part])] = &[
    // An application comes from one batch number to another by nothing but a refund that failed.
    (
        (
            "Update epay PAYMENT SET #state = :requested, failures = if_not_exists(failures, :none) + :one REMOVE refund",
            "refund.batchNo = :batchNo",
        ),
        &[("Put epay FAILED if attribute_not_exists(#partition)", "attribute_not_exists(#partition)")],
    ),
    (
        ("Put epay FAILED if attribute_not_exists(#partition)", "attribute_not_exists(#partition)"),
        &[(
            "Update epay PAYMENT SET #state = :requested, failures = if_not_exists(failures, :none) + :one REMOVE refund",
            "refund.batchNo = :batchNo",
        )],
    ),
    // A refund is completed by a confirmation that is on record before, and further ones are counted.
    (
        (
            "Update epay PAYMENT SET #state = :requested, failures = if_not_exists(failures, :none) + :one REMOVE refund",
            "#state = :processing",
        ),
        &[
            ("ConditionCheck epay CONFIRMATION if attribute_not_exists(pk)", "attribute_not_exists(pk)"),
            ("ConditionCheck epay CONFIRMATION if further = :further", "further = :further"),
        ],
    ),
    // What is held for a refund is there until the refund is decided, or its batch taken back.
    (
        (
            "Update pingpp PAYMENT SET version = version + :one, refunded = refunded + :refunded REMOVE holds.#refund",
            "attribute_exists(holds.#refund)",
        ),
        &[
            (
                "Put pingpp REFUND if attribute_not_exists(#partition) OR #state = :pending",
                "attribute_not_exists(#partition) OR #state = :pending",
            ),
            (
                "Update pingpp BATCH SET #state = :void, releases = :releases REMOVE gsi1pk, gsi1sk",
                "#state = :creating",
            ),
        ],
    ),
    // The other way round: who decides a refund with a hold takes the hold away.
    (
        (
            "Put pingpp REFUND if attribute_not_exists(#partition) OR #state = :pending",
            "attribute_not_exists(#partition) OR #state = :pending",
        ),
        &[(
            "Update pingpp PAYMENT SET version = version + :one, refunded = refunded + :refunded REMOVE holds.#refund",
            "attribute_exists(holds.#refund)",
        )],
    ),
    // A refund moves the account that what is won with the bet moves.
    (
        ("Update ebet PAYMENT SET #state = :settled", "#state = :open"),
        &[(
            "Update ebet ACCOUNT SET balance = :balance, #sequence = :sequence, head = :head",
            "#sequence = :read",
        )],
    ),
    // Who ends a batch, or gives back a part, moves the account of each refund that is given back.
    (
        (
            "Update pingpp BATCH SET #state = :next, endedAt = :at, releases = :releases REMOVE gsi1pk, gsi1sk, takenUntil, takenBy",
            "#state = :settling",
        ),
        &[
            (
                "Update pingpp BATCH SET #state = :next, endedAt = :at, releases = :releases REMOVE gsi1pk, gsi1sk, takenUntil, takenBy",
                "size(releases) = :count",
            ),
            (
                "Update pingpp ACCOUNT SET balance = :balance, #sequence = :sequence, head = :head",
                "#sequence = :read",
            ),
        ],
    ),
    (
        ("Update pingpp BATCH SET #state = :next, releases = :releases", "#state = :settling"),
        &[
            ("Update pingpp BATCH SET #state = :next, releases = :releases", "size(releases) = :count"),
            (
                "Update pingpp ACCOUNT SET balance = :balance, #sequence = :sequence, head = :head",
                "#sequence = :read",
            ),
        ],
    ),
    // A part of a batch is put on record with its account, and with nothing else.
    (
        ("Put ebet REQUEST if version = :read", "version = :read"),
        &[(
            "Update ebet ACCOUNT SET balance = :balance, #sequence = :sequence, head = :head",
            "#sequence = :read",
        )],
    ),
];

/// A condition that no one comes between in one kind of transaction, and why it is there: it costs nothing, and what the kind
/// may become is not for ever. It has no mutant in that kind.
const WITHOUT_RIVALS_IN: &[(&str, Part, &str)] = &[(
    "(Update pingpp BATCH)",
    (
        "Update pingpp BATCH SET #state = :next, endedAt = :at, releases = :releases REMOVE gsi1pk, gsi1sk, takenUntil, takenBy",
        "size(releases) = :count",
    ),
    "who ends a batch and gives nothing back has read that all is decided, and all given back",
)];

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mutant {
    /// A part of a write's condition does not count, in one kind of transaction.
    Condition {
        kind: String,
        write: String,
        part: String,
    },
    /// A transaction lacks one of its actions.
    Action {
        transaction: String,
        write: String,
    },
    /// A write whose answer was lost is made again, a while later, whatever has happened since.
    BlindRetry {
        write: String,
    },
    Decision(Decision),
}

impl fmt::Display for Mutant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Condition { kind, write, part } => {
                // A write by itself has nothing beside it but its own other parts.
                let implies = |(of, _): &Part| kind != write || of == write;
                let is_implied = IMPLIED
                    .iter()
                    .any(|(own, implying)| *own == (&**write, &**part) && implying.iter().any(implies));
                let other = if is_implied { ", nor what implies it" } else { "" };
                if kind != write {
                    write!(f, "{kind}: ")?;
                }
                write!(f, "{write}: without the condition {part}{other}")
            }
            Self::Action { transaction, write } => write!(f, "{transaction}: without {write}"),
            Self::BlindRetry { write } => write!(f, "{write}: made again blindly"),
            Self::Decision(decision) => write!(f, "{decision:?}: {}", decision.about()),
        }
    }
}

thread_local! {
    /// What was seen of writes, where somebody collects it.
    static SEEN: RefCell<Option<BTreeSet<Mutant>>> = const { RefCell::new(None) };
}

/// Conditions that are there, in one kind of transaction, for what comes so late that hardly a world shows it; tests of
/// `late.rs` show each.
const LATE: &[(&str, Part)] = &[
    (
        "(Delete pingpp GUARD + Update pingpp ACCOUNT + Update pingpp BATCH + Update pingpp PAYMENT)",
        (
            "Update pingpp ACCOUNT SET balance = :balance, #sequence = :sequence, head = :head",
            "#sequence = :read",
        ),
    ),
    (
        "(Put pingpp REFUND)",
        (
            "Put pingpp REFUND if attribute_not_exists(#partition) OR #state = :pending",
            "attribute_not_exists(#partition) OR #state = :pending",
        ),
    ),
];

/// Decisions of the same kind.
const LATE_DECISIONS: [Decision; 4] = [
    Decision::LateBatchIsNotOutdated,
    Decision::LackOfFundsIsNotReadAgain,
    Decision::WhatIsLeftIsNotReadAgain,
    Decision::ConfirmedIsToldAtOnce,
];

/// What `work` comes to, and all mutants of what it writes, and those of decisions.
pub fn of<T>(work: impl FnOnce() -> T) -> (T, Vec<Mutant>) {
    SEEN.set(Some(BTreeSet::new()));
    let worked = work();
    let seen = SEEN.take().unwrap_or_default();
    let decisions = Decision::ALL.into_iter().filter(|decision| !LATE_DECISIONS.contains(decision));
    (worked, seen.into_iter().chain(decisions.map(Mutant::Decision)).collect())
}

/// A call as it is without a part of the condition of the writes whose names begin so.
#[cfg(test)]
pub(super) fn without(write: &str, part: &str, operation: &str, asked: &str) -> Option<String> {
    let call: Value = serde_json::from_str(asked).expect("a call is JSON");
    let (name, _) = writes(operation, &call).into_iter().find(|(name, _)| name.starts_with(write))?;
    Mutant::Condition { kind: kind(operation, &call), write: name, part: part.to_owned() }
        .mutate(operation, asked)
}

/// Takes part in what is collected.
pub(super) fn see(operation: &str, asked: &str) {
    SEEN.with_borrow_mut(|seen| {
        let Some(seen) = seen else { return };
        if !is_write(operation) {
            return;
        }
        let asked: Value = serde_json::from_str(asked).expect("a call is JSON");
        if let Some(shape) = shape(operation, &asked) {
            let kind = kind(operation, &asked);
            for (write, action) in writes(operation, &asked) {
                for part in parts(action) {
                    let own = (&*kind, (&*write, &*part));
                    let is_excepted = WITHOUT_RIVALS_IN.iter().any(|(kind, known, _)| (*kind, *known) == own)
                        || LATE.contains(&own);
                    if !is_excepted {
                        seen.insert(Mutant::Condition { kind: kind.clone(), write: write.clone(), part });
                    }
                }
            }
            seen.insert(Mutant::BlindRetry { write: kind.clone() });
            if operation == "TransactWriteItems" {
                let all = writes(operation, &asked);
                let kinds: BTreeSet<String> = all.into_iter().map(|(write, _)| write).collect();
                if kinds.len() > 1 {
                    for write in kinds {
                        seen.insert(Mutant::Action { transaction: shape.clone(), write });
                    }
                }
            }
        }
    });
}

/// The writes of a call, each with its name.
fn writes<'a>(operation: &'a str, asked: &'a Value) -> Vec<(String, &'a Map<String, Value>)> {
    actions(operation, asked).into_iter().map(|(kind, write)| (name(kind, write), write)).collect()
}

/// What is written of which kind of item, and how: `Update ebet ACCOUNT SET balance = …`.
fn name(kind: &str, write: &Map<String, Value>) -> String {
    let (partition, sort) = key_of_action(write);
    let provider = partition.split('#').next().unwrap_or_default();
    let item = match sort.bytes().next() {
        Some(b'0'..=b'9') => "BATCH",
        _ => sort.split('#').next().unwrap_or_default(),
    };
    let how = write.get("UpdateExpression").and_then(Value::as_str).unwrap_or_default();
    // Puts of the same kind of item differ by when they are made.
    let when = write.get("ConditionExpression").and_then(Value::as_str).unwrap_or("always");
    let how = if how.is_empty() { format!("if {when}") } else { how.to_owned() };
    format!("{} {provider} {item} {how}", kind.trim_end_matches("Item"))
}

/// What tells a transaction from others, or a write by itself.
fn shape(operation: &str, asked: &Value) -> Option<String> {
    let all = writes(operation, asked);
    if operation != "TransactWriteItems" {
        return all
            .into_iter()
            .find(|(_, write)| write.contains_key("ConditionExpression"))
            .map(|(name, _)| name);
    }
    let short = |name: &str| name.split(' ').take(3).collect::<Vec<_>>().join(" ");
    let kinds: BTreeSet<String> = all.iter().map(|(name, _)| short(name)).collect();
    Some(format!("({})", kinds.into_iter().collect::<Vec<_>>().join(" + ")))
}

/// The kind of a transaction, by the code that makes it: what is written of a wallet at once, or of a key, has whatever it
/// needs. A write by itself is of its own kind.
fn kind(operation: &str, asked: &Value) -> String {
    let all = writes(operation, asked);
    let has = |text: &str| all.iter().any(|(name, _)| name.contains(text));
    let kind = match operation {
        "TransactWriteItems" if has(" ebet REQUEST ") || has(" ebet PAYMENT SET #state = :refunded") => {
            "(refunds)"
        }
        "TransactWriteItems" if has(" ebet ") => "(entries)",
        "TransactWriteItems" if has(" CREDENTIAL ") => "(keys)",
        _ => return shape(operation, asked).unwrap_or_default(),
    };
    kind.to_owned()
}

/// The parts of a condition that must all hold.
fn parts(write: &Map<String, Value>) -> Vec<String> {
    let condition = write.get("ConditionExpression").and_then(Value::as_str).unwrap_or_default();
    let (mut parts, mut depth, mut start) = (Vec::new(), 0, 0);
    for (at, letter) in condition.char_indices() {
        match letter {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ if depth == 0 && condition[at..].starts_with(" AND ") => {
                parts.push(condition[start..at].to_owned());
                start = at + " AND ".len();
            }
            _ => {}
        }
    }
    parts.push(condition[start..].to_owned());
    parts.retain(|part| !part.is_empty());
    parts
}

/// True whatever is there, and names all that the part names: a name or value that is not used is refused.
fn always(part: &str) -> String {
    let part = enclosed(part);
    format!("({part} OR NOT {part})")
}

/// With parentheses around it; twice DynamoDB would refuse them.
fn enclosed(part: &str) -> String {
    if part.starts_with('(') { part.to_owned() } else { format!("({part})") }
}

/// What is counted where the table becomes another than it would be without the mutant.
pub const DIFFERENCE: &str = "write that a mutant has changed";

impl Mutant {
    /// Whether less is written by it than without it; by the others the same, or more.
    pub(super) fn leaves_out_writes(&self) -> bool {
        matches!(self, Self::Action { .. })
    }

    /// Whether a call has the very write whose condition it leaves out.
    fn is_own(&self, operation: &str, asked: &str) -> bool {
        let Self::Condition { kind: own, .. } = self else { return false };
        if !is_write(operation) {
            return false;
        }
        let asked: Value = serde_json::from_str(asked).expect("a call is JSON");
        kind(operation, &asked) == *own
    }

    /// Whether a call is what it is about: of a condition all that are written to such an item.
    fn is_about(&self, operation: &str, asked: &str) -> bool {
        if !is_write(operation) {
            return false;
        }
        let asked: Value = serde_json::from_str(asked).expect("a call is JSON");
        match self {
            Self::Condition { write, .. } => {
                let item =
                    |name: &str| name.split(' ').skip(1).take(2).map(str::to_owned).collect::<Vec<_>>();
                writes(operation, &asked).iter().any(|(name, _)| item(name) == item(write))
            }
            Self::BlindRetry { write } => kind(operation, &asked) == *write,
            Self::Action { .. } | Self::Decision(_) => false,
        }
    }

    /// What becomes of a call in the weather that finds it fastest: a condition counts where others come between a read
    /// and a write, and go on where somebody has died; a blind retry where nobody hears an answer; a wrong decision where
    /// what was read is not of one moment, or an answer is not heard in time.
    pub(super) fn worsen(
        &self,
        fate: &mut Fate,
        rng: &mut Rng,
        is_deadly: bool,
        operation: &str,
        asked: &str,
    ) {
        // Its own write meets it more often than others.
        let one_in = match self {
            Self::Condition { .. } if !self.is_own(operation, asked) => 4,
            _ => 2,
        };
        if rng.u32(0..one_in) != 0 || fate.fault.is_some() {
            return;
        }
        let mut late =
            |ways: [Range<u64>; 5]| Duration::from_millis(rng.choice(ways).map_or(1, |way| rng.u64(way)));
        let frozen = milliseconds(FROZEN_MAX);
        match self {
            Self::Condition { .. } if self.is_about(operation, asked) => {
                let alone = milliseconds(TAKEN_FOR);
                fate.ways[0] = late([1..60, 1..1_500, 5_000..20_000, 1..frozen, alone..frozen]);
                // A transaction that is sent again by who sent it is the same: then it is late for nothing. What nobody was
                // told of, on the other hand, is no surprise.
                fate.fault = (is_deadly && rng.bool()).then_some(Fault::DeathDuring);
            }
            Self::Condition { .. } if !is_write(operation) => {
                fate.ways[1] = late([1..20, 1..20, 1..60, 1..1_500, 1..15_000])
            }
            Self::BlindRetry { .. } if self.is_about(operation, asked) => {
                fate.fault = Some(if rng.bool() { Fault::LostAnswer } else { Fault::LostRequest });
            }
            Self::Decision(Decision::ReadAtOnceIsApart) if operation == "TransactWriteItems" => {
                fate.fault = Some(Fault::SeenInParts);
            }
            Self::Decision(_) if operation == "BatchGetItem" => {
                fate.fault = Fault::TornRead.befalls(operation, asked).then_some(Fault::TornRead);
            }
            Self::Decision(_) if is_write(operation) && rng.bool() => fate.fault = Some(Fault::LostAnswer),
            Self::Decision(_) if is_write(operation) => {
                fate.ways[0] = Duration::from_millis(rng.u64(1..12_000));
            }
            _ => {}
        }
    }

    /// Switches a wrong decision on, for this thread, until the guard is gone.
    pub(super) fn switch_on(&self) -> Option<mutants::On> {
        match self {
            Self::Decision(decision) => Some(mutants::switch_on(*decision)),
            _ => None,
        }
    }

    /// The call as this mutant makes it; nothing where it leaves it as it is.
    pub(super) fn mutate(&self, operation: &str, asked: &str) -> Option<String> {
        if !is_write(operation) {
            return None;
        }
        let mut call: Value = serde_json::from_str(asked).expect("a call is JSON");
        match self {
            Self::Condition { kind: of, write, part } => {
                if kind(operation, &call) != *of {
                    return None;
                }
                let own = (&**write, &**part);
                let implying = IMPLIED.iter().find(|(implied, _)| *implied == own);
                let mut left_out = vec![own];
                left_out.extend(implying.into_iter().flat_map(|(_, implying)| *implying));
                let mut is_other = false;
                change(operation, &mut call, |name, action| {
                    if !left_out.iter().any(|(write, _)| *write == name) {
                        return;
                    }
                    let mutated = |part: String| match left_out.contains(&(name, &*part)) {
                        true => always(&part),
                        false => enclosed(&part),
                    };
                    let parts: Vec<String> = parts(action).into_iter().map(mutated).collect();
                    action.insert("ConditionExpression".to_owned(), parts.join(" AND ").into());
                    is_other = true;
                });
                is_other.then(|| call.to_string())
            }
            Self::Action { transaction, write } => {
                if operation != "TransactWriteItems" || shape(operation, &call).as_ref() != Some(transaction)
                {
                    return None;
                }
                let actions = call["TransactItems"].as_array_mut().expect("a transaction has actions");
                let before = actions.len();
                actions.retain(|action| {
                    let (kind, of) =
                        action.as_object().and_then(|action| action.iter().next()).expect("an action");
                    name(kind, of.as_object().expect("a write")) != *write
                });
                (actions.len() < before && !actions.is_empty()).then(|| call.to_string())
            }
            Self::BlindRetry { .. } | Self::Decision(_) => None,
        }
    }

    /// What is sent again of a call whose answer was lost.
    pub(super) fn blindly(&self, operation: &str, asked: &str) -> Option<String> {
        let Self::BlindRetry { write } = self else { return None };
        if !is_write(operation) {
            return None;
        }
        let mut call: Value = serde_json::from_str(asked).expect("a call is JSON");
        if kind(operation, &call) != *write {
            return None;
        }
        call.as_object_mut()?.remove("ClientRequestToken");
        change(operation, &mut call, |_, action| {
            if let Some(condition) = action.get("ConditionExpression").and_then(Value::as_str) {
                let condition = always(condition);
                action.insert("ConditionExpression".to_owned(), condition.into());
            }
        });
        Some(call.to_string())
    }
}

/// Changes each write of a call.
fn change(operation: &str, call: &mut Value, mut change: impl FnMut(&str, &mut Map<String, Value>)) {
    if operation != "TransactWriteItems" {
        if let Some(write) = call.as_object_mut() {
            let name = name(operation, write);
            change(&name, write);
        }
        return;
    }
    for action in call["TransactItems"].as_array_mut().into_iter().flatten() {
        let Some((kind, write)) = action.as_object_mut().and_then(|action| action.iter_mut().next()) else {
            continue;
        };
        let Some(write) = write.as_object_mut() else { continue };
        let name = name(kind, write);
        change(&name, write);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;

    /// Conditions that no run makes fail, with why.
    const WITHOUT_RIVALS: [(&str, &str); 4] = [
        ("attribute_exists(subject)", "an intervention has a number of its own, and is never taken away"),
        ("attribute_exists(batchId)", "a refund that was read is never taken away"),
        (
            "attribute_exists(gsi1pk)",
            "only a damaged batch is put off, and a world has none: `settle` plays it",
        ),
        (
            "(attribute_not_exists(takenUntil) OR takenUntil < :now)",
            "of a damaged batch: `settle` plays it; of others it is mutated",
        ),
    ];

    /// The texts in quotation marks of a source file, up to its tests.
    fn literals(source: &str) -> Vec<String> {
        let source = source.split("#[cfg(test)]").next().unwrap_or_default();
        let code = source.lines().filter(|line| !line.trim_start().starts_with("//"));
        let code = code.collect::<Vec<_>>().join("\n").replace("\\\"", "'").replace("'\"'", "");
        code.split('"').skip(1).step_by(2).map(str::to_owned).collect()
    }

    #[test]
    fn every_condition_that_the_store_writes_has_a_mutant_or_a_reason_why_not() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/src/store");
        let list = include_str!("../../mutants.txt");
        let mut seen = 0;
        for file in std::fs::read_dir(folder).unwrap() {
            let path = file.unwrap().path();
            for text in literals(&std::fs::read_to_string(&path).unwrap()) {
                let is_condition = ["attribute_exists(", "attribute_not_exists(", " = :", " >= :", " IN (:"]
                    .iter()
                    .any(|mark| text.contains(mark));
                let is_other =
                    ["SET ", "ADD ", "REMOVE ", "#partition = "].iter().any(|it| text.starts_with(it));
                if !is_condition || is_other {
                    continue;
                }
                let condition = text.replace("{PARTITION_KEY}", "pk");
                let write = json!({ "ConditionExpression": condition });
                for part in parts(write.as_object().unwrap()) {
                    seen += 1;
                    let is_mutated = list.contains(&format!(": without the condition {part}"));
                    let has_reason = WITHOUT_RIVALS.iter().any(|(known, _)| *known == part);
                    assert!(is_mutated || has_reason, "{}: {part}", path.display());
                }
            }
        }
        assert!(seen > 30, "{seen} conditions were found");
    }

    #[test]
    fn each_part_of_a_condition_is_left_out_by_a_mutant_of_its_own() {
        let write = json!({"Key": {"pk": {"S": "epay#m#1"}, "sk": {"S": "PAYMENT"}}, "UpdateExpression": "SET a = :a",
                           "ConditionExpression": "b = :b AND (c = :c AND d = :d) AND attribute_exists(e)"});
        let asked = json!({"TransactItems": [{ "Update": write }]}).to_string();
        let ((), found) = of(|| see("TransactWriteItems", &asked));
        let mutated: BTreeMap<&str, String> = found
            .iter()
            .filter_map(|mutant| match mutant {
                Mutant::Condition { part, .. } => {
                    Some((&**part, mutant.mutate("TransactWriteItems", &asked).unwrap()))
                }
                _ => None,
            })
            .collect();
        assert_eq!(mutated.len(), 3);
        for (part, condition) in [
            ("b = :b", "((b = :b) OR NOT (b = :b)) AND (c = :c AND d = :d) AND (attribute_exists(e))"),
            // Parentheses right within parentheses are refused.
            (
                "(c = :c AND d = :d)",
                "(b = :b) AND ((c = :c AND d = :d) OR NOT (c = :c AND d = :d)) AND (attribute_exists(e))",
            ),
        ] {
            assert!(mutated[part].contains(&format!("\"{condition}\"")), "{}", mutated[part]);
        }
    }
}
