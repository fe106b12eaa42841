//! Whatever is changed behind the ledger's back is found, and named; and nothing else is.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use refundctl::verify::{Breach, Kind};
use tests::entries::{credit, withdrawal};
use tests::planted::{PLANTED, Planted, one_of_each};
use tests::world::{World, is_embedded};

#[tokio::test(flavor = "multi_thread")]
async fn every_change_behind_the_ledgers_back_is_found_and_named_and_nothing_else_is() {
    let world = World::with_everything().await;
    world.check_whole("clean").await;
    let clean = world.table_items().await;
    let (mut kinds, mut wrong) = (BTreeSet::new(), Vec::new());
    // What is made of what was read is the same wherever that was: elsewhere one of each kind is enough, all at once.
    if !is_embedded() {
        let (changed, plants) = one_of_each(&clean);
        world.become_items(&clean, &changed).await;
        let told = world.verified().await.counts;
        let missed = plants.iter().flat_map(|planted| planted.found).find(|kind| !told.contains_key(kind));
        assert_eq!(missed, None, "{told:?}");
        return;
    }
    for Planted { what, plant, found } in PLANTED {
        let mut changed = clean.clone();
        plant(&mut changed);
        world.become_items(&clean, &changed).await;
        let verified = world.verified().await;
        let told: BTreeSet<Kind> = verified.counts.keys().copied().collect();
        let breaches = &verified.breaches;
        if told != found.iter().copied().collect() {
            wrong.push(format!("{what}: {told:?} for {found:?}: {breaches:#?}"));
        }
        let touched = changed.iter().filter(|(key, item)| clean.get(*key) != Some(item)).map(|(key, _)| key);
        let touched: BTreeSet<_> =
            touched.chain(clean.keys().filter(|key| !changed.contains_key(*key))).collect();
        let names = |breach: &Breach| {
            let is_named = |(pk, _sk): &(String, String)| {
                breach.keys.iter().any(|key| key.0 == *pk) || breach.what.contains(pk)
            };
            touched.iter().any(|key| is_named(key))
        };
        assert!(breaches.iter().any(names), "{what}: {breaches:#?}");
        kinds.extend(told);
        world.become_items(&changed, &clean).await;
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    world.check_whole("clean again").await;
    // A refund before its payment needs a chain that is written anew, as its sequence is hashed; the last two an anchor.
    let others = [Kind::RefundBeforePayment, Kind::LostSinceAnchor, Kind::RewrittenSinceAnchor];
    let missing: Vec<&Kind> =
        Kind::ALL.iter().filter(|kind| !kinds.contains(*kind) && !others.contains(*kind)).collect();
    assert!(missing.is_empty(), "nothing is planted for {missing:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changes_while_it_is_read_is_not_taken_for_a_breach() {
    let world = World::with_everything().await;
    let instance = world.entries_instance();
    let is_done = Arc::new(AtomicBool::new(false));
    let until = is_done.clone();
    let writing = tokio::spawn(async move {
        let mut turn = 0;
        while !until.load(Ordering::SeqCst) {
            let entry = credit("p", &format!("turn{turn}"), "1");
            let (status, told) = instance.record(&[entry]).await;
            assert_eq!(status, 200, "{told:?}");
            turn += 1;
        }
        turn
    });
    let mut passed = 0;
    for _ in 0..5 {
        // In many small pages.
        let verified = world.verified_within(Some(150)).await;
        assert!(verified.breaches.is_empty(), "{:#?}", verified.breaches);
        passed += verified.passed;
    }
    is_done.store(true, Ordering::SeqCst);
    println!("{} changes meanwhile; {passed} groups seemed wrong for a moment", writing.await.unwrap());
}

/// A wallet with a payout and a cash out, whose amounts are these.
async fn wallet_of(payout: &str, out: Option<&str>) -> World {
    let world = World::with_channel().await;
    world.wallet_with_debits("p", "100", &[]).await;
    let out = out.map(|amount| withdrawal("p", "out", amount));
    for entry in [credit("p", "payout", payout)].into_iter().chain(out) {
        assert_eq!(world.entries_instance().record(&[entry]).await.0, 200);
    }
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_that_is_rewritten_as_a_whole_is_found_by_an_anchor_alone() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("heads.jsonl");
    let world = wallet_of("12", Some("3")).await;
    world.anchored(&file).await;
    assert!(world.verified_by(&file).await.unwrap().breaches.is_empty());
    // What comes on top is no breach.
    assert_eq!(world.entries_instance().record(&[credit("p", "more", "1")]).await.0, 200);
    assert!(world.verified_by(&file).await.unwrap().breaches.is_empty());

    let honest = world.table_items().await;
    for (other, kind) in [
        (wallet_of("13", Some("3")).await, Kind::RewrittenSinceAnchor),
        (wallet_of("12", None).await, Kind::LostSinceAnchor),
        (World::with_channel().await, Kind::LostSinceAnchor),
    ] {
        let forged = other.table_items().await;
        world.become_items(&honest, &forged).await;
        world.check_whole("the chain is whole by itself").await;
        let verified = world.verified_by(&file).await.unwrap();
        let kinds: Vec<Kind> = verified.counts.keys().copied().collect();
        assert_eq!(kinds, [kind], "{:#?}", verified.breaches);
        world.become_items(&forged, &honest).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_anchor_that_was_changed_or_cut_is_no_anchor() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("heads.jsonl");
    let world = wallet_of("12", None).await;
    world.anchored(&file).await;
    let whole = std::fs::read_to_string(&file).unwrap();
    let lines: Vec<&str> = whole.lines().collect();
    assert_eq!(lines.len(), 3);
    for (text, told) in [
        (whole.replace("\"sequence\":1", "\"sequence\":0"), "was changed"),
        (lines[..2].join("\n"), "is not whole"),
        ([lines[0], lines[2]].join("\n"), "was changed"),
        ("{}".to_owned(), "is no anchor"),
        (String::new(), "is not whole"),
    ] {
        std::fs::write(&file, text).unwrap();
        let error = world.verified_by(&file).await.unwrap_err();
        assert!(error.to_string().contains(told), "{told}: {error:#}");
    }
}
