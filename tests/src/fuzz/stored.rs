//! Items of the table, as the ledger reads them: what somebody has changed behind its back breaks nothing.

use refundctl::verify;
use serde_json::Value;
use shared::store::Stored;

use super::grammar::{Grammar, Input};
use super::{sandbox, taken};
use crate::embedded::{Key, item_of, key_of};

/// An item of the demo data of which something is another value, or missing; read by itself, and with all others.
pub fn items(input: &[u8]) {
    let Input::Grammar(mut grammar) = Input::of(input) else { return };
    let items = sandbox::untouched();
    let keys: Vec<&Key> = items.keys().collect();
    let mut item = items[*grammar.pick(&keys)].clone();
    let key = key_of(&item);
    for _ in 0..grammar.count(3) {
        change(&mut grammar, &mut item);
    }
    let stored = Stored::of(&item_of(&item));
    if stored.content.is_ok() {
        taken();
    }
    let others =
        items.iter().filter(|(other, _)| **other != key).map(|(_, other)| Stored::of(&item_of(other)));
    let all: Vec<Stored> = others.chain([stored]).collect();
    let found = verify::check_items(&all).expect("facts that come from no file can be read");
    let is_as_it_was = item == items[&key];
    assert!(!is_as_it_was || found.is_empty(), "nothing is wrong: {found:?}");
}

/// Changes an attribute, or one within it; never the key, by which it is found.
fn change(grammar: &mut Grammar<'_>, item: &mut Value) {
    let Some(members) = item.as_object_mut() else { return };
    let names: Vec<String> = members.keys().filter(|name| *name != "pk" && *name != "sk").cloned().collect();
    if names.is_empty() || grammar.is_one_in(12) {
        members.insert("other".to_owned(), grammar.attribute());
        return;
    }
    let name = grammar.pick(&names);
    if grammar.is_one_in(4) {
        members.remove(name);
    } else if members[name]["M"].is_object() && !grammar.is_one_in(4) {
        change(grammar, &mut members[name]["M"]);
    } else {
        members.insert(name.clone(), grammar.attribute());
    }
}
