//! What is added up, and how it is shown.

use std::collections::BTreeMap;

use rust_decimal::Decimal;
use serde_json::Value;
use shared::ledger::{
    AccountKey, Amount, Application, ApplicationKey, ApplicationRefund, ApplicationState, Balance, BatchEnd,
    BatchState, Charge, ChargeKey, Completion, Confirmation, Debit, DebitKey, DebitState, FailedRefund,
    Fingerprint, Hash, Hold, ItemRefund, ItemState, MinorUnits, Posting, Refund, RefundBatch, RefundBatchKey,
    RefundId, RefundedBy, RequestKey, TenantKey,
};
use shared::store::{Content, Stored};

use super::lines::{Group, Report, Unit, bar};
use super::period::{Period, milliseconds, moment};
use super::totals::{Sums, Totals};
use super::*;
use crate::agreement::WrongUsage;
use crate::screen::Output;

const CHANNEL: &str = "ebet#1";
const MERCHANT: &str = "epay#demo";
const APP: &str = "pingpp#app_1#test";

/// Begin and end of the period of all tests but one.
const DAYS: [&str; 2] = ["2026-11-01", "2026-11-30"];

fn period([from, to]: [&str; 2]) -> Period {
    let (from, to) = (moment(from).unwrap(), moment(to).unwrap());
    Period { from: from.beginning().unwrap(), until: to.end().unwrap() }
}

fn at(time: &str) -> u64 {
    milliseconds(time.parse().unwrap())
}

fn amount(text: &str) -> Amount {
    text.parse().unwrap()
}

fn stored(content: Content) -> Stored {
    Stored {
        partition: "partition".to_owned(),
        sort: "sort".to_owned(),
        content: Ok(content),
        seal: None,
        index: None,
        expires: None,
        taken_until: None,
        is_plain: true,
    }
}

fn tenant(tenant: &str, settings: String) -> Content {
    Content::Tenant { tenant: TenantKey::recorded(tenant), settings }
}

fn channel() -> Content {
    let line = crate::local::DEMO_DATA.lines().next().unwrap();
    let mut settings: Value = serde_json::from_str(line).unwrap();
    settings.as_object_mut().unwrap().remove("kind");
    tenant(CHANNEL, settings.to_string())
}

fn merchant(currency: &str) -> Content {
    let settings = format!(
        "{{\"merchant\": \"demo\", \"currency\": \"{currency}\", \"keyHashes\": [\"0\"], \"enabled\": true}}"
    );
    tenant(MERCHANT, settings)
}

fn app(currency: &str) -> Content {
    let settings = format!("{{\"app\": \"app_1\", \"livemode\": false, \"currency\": \"{currency}\"}}");
    tenant(APP, settings)
}

fn debit(sum: &str, by: RefundedBy, time: &str) -> Content {
    let hash = Hash::recorded(&[0; 32]).unwrap();
    let posting = Posting {
        sequence: 1,
        before: Balance::recorded(Decimal::ZERO),
        after: Balance::recorded(amount(sum).value()),
        previous: hash,
        hash,
    };
    let request = RequestKey::recorded("ebet#1#request#call#1");
    let refund = Refund { amount: amount(sum), by, request, at: at(time), posting };
    Content::Debit(Box::new(Debit {
        key: DebitKey { account: AccountKey::recorded("ebet#1#demo"), id: "bet".parse().unwrap() },
        round: "round".parse().unwrap(),
        amount: amount(sum),
        taken: None,
        asked: None,
        state: DebitState::Refunded(refund),
    }))
}

fn refund_of(sum: &str, time: &str) -> ApplicationRefund {
    ApplicationRefund {
        id: RefundId::recorded("rf_1"),
        batch_no: "B".parse().unwrap(),
        amount: amount(sum),
        account: "account".parse().unwrap(),
        at: at(time),
        invocation: String::new(),
    }
}

fn application(state: ApplicationState) -> Content {
    Content::Application(Box::new(Application {
        key: ApplicationKey { merchant: TenantKey::recorded(MERCHANT), id: 1 },
        order_no: "order".parse().unwrap(),
        paid: amount("1000"),
        state,
        failures: None,
    }))
}

fn done(sum: &str, time: &str) -> Content {
    let confirmation = Confirmation {
        trade_no: "T".parse().unwrap(),
        amount: amount(sum),
        at: at(time),
        invocation: String::new(),
    };
    let completion = Completion { confirmation, at: at(time), invocation: String::new() };
    application(ApplicationState::Done { refund: refund_of(sum, "2026-10-01T00:00:00Z"), completion })
}

fn failed(sum: &str, time: &str) -> Content {
    let refund = refund_of(sum, "2026-10-01T00:00:00Z");
    Content::Failed {
        application: ApplicationKey { merchant: TenantKey::recorded(MERCHANT), id: 1 },
        failed: Box::new(FailedRefund { refund, at: at(time), reason: None }),
    }
}

const BATCH: &str = "152611010000000001";

/// With what is held for these batches.
fn charge(holds: &[(&str, u64)]) -> Content {
    let hold = |(at, (batch, units)): (usize, &(&str, u64))| {
        let amount = MinorUnits::new(*units).unwrap();
        (RefundId::recorded(&format!("re_{at}")), Hold { amount, batch: batch.parse().unwrap() })
    };
    Content::Charge(Box::new(Charge {
        key: ChargeKey { tenant: TenantKey::recorded(APP), id: "ch_1".parse().unwrap() },
        channel: "wx".parse().unwrap(),
        currency: "CNY".parse().unwrap(),
        order_no: "order".parse().unwrap(),
        transaction_no: None,
        amount: MinorUnits::new(100_000).unwrap(),
        refunded: 0,
        refunded_before: 0,
        holds: holds.iter().enumerate().map(hold).collect::<BTreeMap<_, _>>(),
        paid: true,
        created: 1,
        time_paid: None,
        version: 1,
    }))
}

fn item(units: u64, state: ItemState) -> Content {
    Content::Refund(Box::new(ItemRefund {
        id: RefundId::recorded("re_9"),
        charge: ChargeKey { tenant: TenantKey::recorded(APP), id: "ch_1".parse().unwrap() },
        batch: BATCH.parse().unwrap(),
        amount: MinorUnits::new(units).unwrap(),
        state,
        contradiction: None,
    }))
}

fn batch(id: &str, state: BatchState, time: &str) -> Content {
    Content::Batch(Box::new(RefundBatch {
        key: RefundBatchKey { tenant: TenantKey::recorded(APP), id: id.parse().unwrap() },
        batch_no: "B".parse().unwrap(),
        fingerprint: Fingerprint::recorded(&[0; 32]).unwrap(),
        currency: None,
        description: String::new(),
        metadata: "{}".to_owned(),
        at: at(time),
        state,
        items: Vec::new(),
        holds: Vec::new(),
        releases: Vec::new(),
    }))
}

fn report_of(days: [&str; 2], contents: Vec<Content>) -> Report {
    let mut totals = Totals::new(period(days));
    for content in contents {
        totals.take(&stored(content));
    }
    totals.finish()
}

/// One with something of everything, and the currencies CNY and JPY.
pub(super) fn report() -> Report {
    let (made, failed_at) = (at("2026-11-02T00:00:00Z"), at("2026-11-03T00:00:00Z"));
    let refused = ItemState::Failed { at: failed_at, code: String::new(), message: String::new() };
    report_of(
        DAYS,
        vec![
            // The tenants come last: the table is read in no order.
            debit("1000", RefundedBy::Provider, "2026-11-02T10:00:00Z"),
            debit("16.85", RefundedBy::Provider, "2026-11-02T11:00:00Z"),
            debit("100", RefundedBy::Channel, "2026-11-02T12:00:00Z"),
            done("2", "2026-11-03T00:00:00Z"),
            failed("358.5", "2026-11-04T00:00:00Z"),
            application(ApplicationState::Processing(refund_of("7", "2026-10-01T00:00:00Z"))),
            item(1050, ItemState::Succeeded { at: made }),
            item(20, refused),
            charge(&[(BATCH, 5000), (BATCH, 1), ("152611010000000002", 9)]),
            batch(BATCH, BatchState::Settling, "2026-11-01T00:00:01Z"),
            batch("152611010000000002", BatchState::Creating, "2026-11-01T00:00:02Z"),
            channel(),
            merchant("JPY"),
            app("cny"),
        ],
    )
}

/// By group and currency: how many refunds, own, failed and open ones, and how much.
fn told(report: &Report, by: By) -> Vec<String> {
    let shown = |((group, unit), sums): ((Group, Unit), Sums)| {
        let tallies = [sums.refunds, sums.own, sums.failed, sums.open];
        let tallies = tallies.map(|tally| format!("{} {}", tally.count, unit.shown(tally.amount)));
        format!("{} {}: {}", group.shown(), unit.label, tallies.join(", "))
    };
    report.by(by).into_iter().map(shown).collect()
}

#[test]
fn refunds_of_all_providers_are_added_up_in_units_of_their_currency() {
    let report = report();
    assert_eq!((report.items, report.tenants, report.notes.len()), (14, 3, 0), "{:?}", report.notes);
    assert_eq!(
        told(&report, By::Provider),
        [
            "eBET CNY: 2 1016.85, 1 100.00, 0 0.00, 0 0.00",
            "EPay JPY: 1 2, 0 0, 1 358.5, 1 7",
            "Ping++ CNY: 1 10.50, 0 0.00, 1 0.20, 2 50.01",
        ]
    );
    assert_eq!(
        told(&report, By::Tenant),
        [
            "channel 1 CNY: 2 1016.85, 1 100.00, 0 0.00, 0 0.00",
            "merchant demo JPY: 1 2, 0 0, 1 358.5, 1 7",
            "app app_1 in test mode CNY: 1 10.50, 0 0.00, 1 0.20, 2 50.01",
        ]
    );
    assert_eq!(
        told(&report, By::Day),
        [
            "2026-11-01 CNY: 0 0.00, 0 0.00, 0 0.00, 2 50.01",
            "2026-11-02 CNY: 3 1027.35, 1 100.00, 0 0.00, 0 0.00",
            "2026-11-03 CNY: 0 0.00, 0 0.00, 1 0.20, 0 0.00",
            "2026-11-03 JPY: 1 2, 0 0, 0 0, 0 0",
            "2026-11-04 JPY: 0 0, 0 0, 1 358.5, 0 0",
            "other days JPY: 0 0, 0 0, 0 0, 1 7",
        ]
    );
    let all: Vec<(String, u64)> =
        report.in_all().into_iter().map(|(unit, sums)| (unit.label, sums.refunds.count)).collect();
    assert_eq!(all, [("CNY".to_owned(), 3), ("JPY".to_owned(), 1)]);
}

#[test]
fn what_is_open_is_told_whatever_the_period_with_the_oldest_of_each_tenant() {
    let open = |open: Content| {
        let report = report_of(["2020-01-01", "2020-01-31"], vec![open, app("cny"), charge(&[(BATCH, 5)])]);
        report.by(By::Tenant).into_values().next().map(|sums| (sums.open.count, sums.open_since))
    };
    let made = "2026-11-01T00:00:01Z";
    for (state, told) in [
        (BatchState::Created, Some((1, Some(at(made))))),
        (BatchState::Settling, Some((1, Some(at(made))))),
        (BatchState::Creating, None),
        (BatchState::Void, None),
        (BatchState::Ended { end: BatchEnd::Succeeded, at: at(made) }, None),
    ] {
        assert_eq!(open(batch(BATCH, state, made)), told, "{state:?}");
    }
    let begun = |time| application(ApplicationState::Processing(refund_of("7", time)));
    let (older, newer) = ("2026-10-01T00:00:00Z", "2026-11-05T00:00:00Z");
    let report = report_of(DAYS, vec![merchant("CNY"), begun(newer), begun(older)]);
    let sums = report.by(By::Tenant).into_values().next().unwrap();
    assert_eq!((sums.open.count, sums.open_since), (2, Some(at(older))));
    assert_eq!(report.in_all().into_values().next().unwrap().paid_back(), Decimal::ZERO);
}

#[test]
fn a_period_begins_with_its_first_day_or_time_and_ends_with_its_last_day_or_before_its_last_time() {
    for (days, time, is_counted) in [
        (DAYS, "2026-10-31T23:59:59.999Z", false),
        (DAYS, "2026-11-01T00:00:00Z", true),
        (DAYS, "2026-11-30T23:59:59.999Z", true),
        (DAYS, "2026-12-01T00:00:00Z", false),
        (["2026-11-01T08:00:00+08:00", "2026-11-30"], "2026-11-01T00:00:00Z", true),
        (["2026-11-01T00:00:00.001Z", "2026-11-30"], "2026-11-01T00:00:00Z", false),
        (["2026-11-01", "2026-11-30T09:00:00Z"], "2026-11-30T08:59:59.999Z", true),
        (["2026-11-01", "2026-11-30T09:00:00Z"], "2026-11-30T09:00:00Z", false),
    ] {
        let report = report_of(days, vec![channel(), debit("1", RefundedBy::Provider, time)]);
        assert_eq!(report.by(By::Day).len(), usize::from(is_counted), "{days:?} {time}");
        assert_eq!(report.notes.is_empty(), is_counted, "that there is nothing is told");
    }
    let november = "from 2026-11-01 to 2026-11-30 (UTC)";
    assert_eq!(period(DAYS).to_string(), november);
    assert_eq!(period(["2026-11-01T00:00:00Z", "2026-12-01T00:00:00Z"]).to_string(), november);
    let hours = period(["2026-11-22T09:00:00+08:00", "2026-11-22T10:30:00Z"]);
    assert_eq!(hours.to_string(), "from 2026-11-22 01:00:00 to 2026-11-22 10:30:00 (UTC)");
}

#[test]
fn a_period_that_is_not_said_is_the_last_30_days_and_today() {
    #[derive(Debug, clap::Parser)]
    struct Cli {
        #[command(flatten)]
        options: Options,
    }
    let now = "2026-11-22T09:30:00Z".parse().unwrap();
    let of = |arguments: &[&str]| {
        let arguments = [&["report"], arguments].concat();
        let cli: Result<Cli, _> = clap::Parser::try_parse_from(arguments);
        cli.ok().map(|cli| cli.options.period(now).map(|period| period.to_string()))
    };
    for (arguments, told) in [
        (&[][..], "from 2026-10-23 to 2026-11-22 (UTC)"),
        (&["--to", "2026-03-01"], "from 2026-01-30 to 2026-03-01 (UTC)"),
        (&["--from", "2026-11-22"], "from 2026-11-22 to 2026-11-22 (UTC)"),
        (&["--to", "2026-11-22T09:00:00Z"], "from 2026-10-23 to 2026-11-22 09:00:00 (UTC)"),
    ] {
        assert_eq!(of(arguments).unwrap().unwrap(), told, "{arguments:?}");
    }
    for arguments in [
        &["--from", "2026-11-23"][..],
        &["--from", "2026-11-02", "--to", "2026-11-01"],
        &["--from", "2026-11-01T00:00:00Z", "--to", "2026-11-01T00:00:00Z"],
        &["--to", "9999-12-31"],
    ] {
        let error = of(arguments).unwrap().unwrap_err();
        assert!(error.downcast_ref::<WrongUsage>().is_some(), "{arguments:?}: {error}");
    }
    for text in ["today", "2026-02-30", "2026-11-1", "2026-11-22T09:30:00", ""] {
        assert!(of(&["--from", text]).is_none(), "{text:?}");
    }
}

#[test]
fn amounts_whose_unit_is_not_known_are_kept_apart_and_said_to_be() {
    let made = || ItemState::Succeeded { at: at("2026-11-02T00:00:00Z") };
    for (currency, line) in [
        ("cny", "Ping++ CNY: 1 10.50, 0 0.00, 0 0.00, 0 0.00"),
        ("jpy", "Ping++ JPY: 1 1050, 0 0, 0 0, 0 0"),
        ("kwd", "Ping++ KWD: 1 1.050, 0 0.000, 0 0.000, 0 0.000"),
        ("usdt", "Ping++ USDT (smallest unit): 1 1050, 0 0, 0 0, 0 0"),
    ] {
        let report = report_of(DAYS, vec![app(currency), item(1050, made())]);
        assert_eq!(told(&report, By::Provider), [line]);
    }
    let report = report_of(
        DAYS,
        vec![
            item(1050, made()),
            done("2.5", "2026-11-02T00:00:00Z"),
            debit("1", RefundedBy::Channel, "2026-11-02T00:00:00Z"),
            tenant(MERCHANT, "{}".to_owned()),
        ],
    );
    assert_eq!(
        told(&report, By::Day),
        [
            "2026-11-02 ?: 0 0, 1 1, 0 0, 0 0",
            "2026-11-02 ?: 1 2.5, 0 0, 0 0, 0 0",
            "2026-11-02 ? (smallest unit): 1 1050, 0 0, 0 0, 0 0",
        ],
        "what may be of different currencies is not added"
    );
    let [note] = &report.notes[..] else { panic!("{:?}", report.notes) };
    for named in ["merchant demo (not a merchant's settings", "channel 1 (not on record)", "app app_1 in"] {
        assert!(note.contains(named), "{note}");
    }
}

#[test]
fn items_that_can_not_be_read_are_told() {
    let mut totals = Totals::new(period(DAYS));
    for why in ["amount can't be read", "state is \"?\""] {
        totals.take(&Stored { content: Err(why.to_owned()), ..stored(channel()) });
    }
    let report = totals.finish();
    assert_eq!((report.items, report.tenants), (2, 0));
    let told = "2 items can't be read and are in no sum; the first is partition sort: amount can't be read";
    assert_eq!(report.notes[0], told);
}

#[test]
fn people_get_bars_where_there_is_room_and_programs_never() {
    let now = at("2026-11-05T00:00:01Z");
    let shown = |report: &Report, by, output| report.sheet(by, output, 80, now).render(output, 80).unwrap();
    let report = report();
    let text = shown(&report, By::Day, Output::Table);
    for told in [
        "refunds from 2026-11-01 to 2026-11-30 (UTC)",
        "1027.35",
        "other days",
        &"█".repeat(BAR_COLUMNS),
        "4 d",
        "35 d 1 s",
    ] {
        assert!(text.contains(told), "{told}: {text}");
    }
    let large = report_of(
        DAYS,
        vec![
            channel(),
            debit("999999999999999.99", RefundedBy::Provider, "2026-11-02T10:00:00Z"),
            debit("999999999999999.99", RefundedBy::Channel, "2026-11-02T10:00:00Z"),
        ],
    );
    for by in [By::Day, By::Tenant, By::Provider] {
        for report in [&report, &large] {
            let text = shown(report, by, Output::Table);
            let widest = text.lines().map(console::measure_text_width).max().unwrap();
            assert!(widest <= 80, "{widest}: {text}");
        }
        for output in [Output::Json, Output::Csv] {
            assert!(!shown(&report, by, output).contains('█'));
        }
    }
    assert!(!shown(&report, By::Tenant, Output::Table).contains('█'));
    let text = shown(&large, By::Day, Output::Table);
    assert!(text.contains("999999999999999.99") && !text.contains('█'), "{text}");
}

#[test]
fn the_books_get_a_row_for_each_group_and_currency() {
    let report = report();
    let csv = |by| report.sheet(by, Output::Csv, 80, 0).render(Output::Csv, 80).unwrap();
    let period = "2026-11-01T00:00:00Z,2026-12-01T00:00:00Z";
    let sums = "refunds,amount,ownRefunds,ownAmount,failed,failedAmount,open,openAmount";
    for (by, columns, row) in [
        (By::Day, "day", "2026-11-02,CNY,3,1027.35,1,100.00,0,0.00,0,0.00"),
        (By::Day, "day", ",JPY,0,0,0,0,0,0,1,7"),
        (By::Tenant, "provider,tenant", "EPay,merchant demo,JPY,1,2,0,0,1,358.5,1,7"),
        (By::Provider, "provider", "Ping++,CNY,1,10.50,0,0.00,1,0.20,2,50.01"),
    ] {
        let csv = csv(by);
        assert!(csv.starts_with(&format!("from,until,{columns},currency,{sums}\n")), "{csv}");
        assert!(csv.contains(&format!("\n{period},{row}\n")), "{row}: {csv}");
    }
}

#[test]
fn a_bar_is_as_long_as_its_part_and_never_unseen() {
    for (part, whole, told) in [
        ("0", "100", ""),
        ("0", "0", ""),
        ("0.01", "1000000", "▏"),
        ("50", "100", "████"),
        ("50", "96", "████▏"),
        ("99.99", "100", "████████"),
        ("100", "100", "████████"),
    ] {
        let decimal = |text: &str| text.parse::<Decimal>().unwrap();
        assert_eq!(bar(decimal(part), decimal(whole)), told, "{part} of {whole}");
    }
}
