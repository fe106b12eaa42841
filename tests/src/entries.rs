//! Entries of players of channel 1, as the operator's own systems write them.

use serde_json::{Value, json};

pub fn wallet(username: &str, balance: &str) -> Value {
    json!({"kind": "wallet", "channelId": 1, "username": username, "balance": balance})
}

/// A live debit.
pub fn bet(username: &str, seq_no: &str, amount: &str) -> Value {
    json!({"kind": "debit", "channelId": 1, "username": username, "seqNo": seq_no, "roundCode": "B1-1",
           "amount": amount, "live": true})
}

pub fn past_debit(username: &str, seq_no: &str, amount: &str) -> Value {
    json!({"kind": "debit", "channelId": 1, "username": username, "seqNo": seq_no, "roundCode": "B1-1",
           "amount": amount})
}

pub fn credit(username: &str, id: &str, amount: &str) -> Value {
    json!({"kind": "credit", "channelId": 1, "username": username, "id": id, "amount": amount,
           "reason": "payout"})
}

pub fn withdrawal(username: &str, id: &str, amount: &str) -> Value {
    json!({"kind": "withdrawal", "channelId": 1, "username": username, "id": id, "amount": amount,
           "reason": "cash out"})
}

pub fn settle(username: &str, seq_no: &str) -> Value {
    json!({"kind": "settle", "channelId": 1, "username": username, "seqNo": seq_no})
}

/// What was told of each entry, in a word: its outcome, or the reason of its refusal.
pub fn outcomes(told: &[Value]) -> Vec<&str> {
    told.iter()
        .map(|told| told["reason"].as_str().or(told["outcome"].as_str()).expect("each entry has an outcome"))
        .collect()
}
