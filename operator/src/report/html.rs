//! The report as a page: one file that needs nothing else, with its plots in it as SVG.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::Permissions;
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::{Context, Result};
use jiff::Timestamp;
use jiff::civil::Date;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use plotters::prelude::*;
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;

use super::By;
use super::lines::{Group, Report, Unit};
use super::period::{Period, milliseconds};
use super::totals::Sums;
use crate::agreement::WrongUsage;
use crate::screen::{age, plain, time};

/// Of a plot, in pixels; a page shows it smaller where there is less room.
const PLOT_SIZE: (u32, u32) = (900, 260);

/// Days that a plot shows as days; of more it shows months.
const DAYS_MAX: usize = 120;

/// How much of its day a bar takes to each side.
const HALF_A_BAR: f64 = 0.4;

/// Can be read on white and on black.
const GREY: RGBColor = RGBColor(0x76, 0x76, 0x76);

// They differ from each other, and from white and black, for those who see no colours, too.
const ASKED_FOR: RGBColor = RGBColor(0x28, 0x78, 0xc8);
const OWN: RGBColor = RGBColor(0xd0, 0x6a, 0x00);
const FAILED: RGBColor = RGBColor(0xb0, 0x40, 0x8f);

const STYLE: &str = "
:root { color-scheme: light dark; }
body { margin: 0; font: 1rem/1.5 system-ui, sans-serif; color: #1b1b1b; background: #fff; }
main { max-width: 60rem; margin: 0 auto; padding: 1rem; }
h1 { font-size: 1.6rem; line-height: 1.2; }
h2 { font-size: 1.2rem; margin: 2rem 0 0.5rem; }
dt { font-weight: 600; }
dd { margin: 0 0 0.5rem 1.5rem; }
.note { border-left: 0.3rem solid #d06a00; padding-left: 0.7rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
caption { text-align: left; padding-bottom: 0.3rem; }
th, td { text-align: left; padding: 0.2rem 0.9rem 0.2rem 0; border-bottom: 1px solid #76767666; }
.number { text-align: right; white-space: nowrap; }
figure { margin: 1.5rem 0; }
.legend { display: inline-block; margin-right: 1.2rem; }
.legend i { display: inline-block; width: 0.8rem; height: 0.8rem; margin-right: 0.4rem; }
svg { display: block; width: 100%; height: auto; }
svg text { fill: currentColor; }
@media (prefers-color-scheme: dark) { body { color: #e8e8e8; background: #141414; } }
";

/// The columns of all sums.
const SUMS: [&str; 8] =
    ["Refunds", "Amount", "Own", "Own amount", "Failed", "Failed amount", "Open now", "Open amount"];

/// Whether a page can be put there, before it is made.
///
/// # Errors
/// If it can't be.
pub fn check(file: &Path) -> Result<(), WrongUsage> {
    if !folder_of(file).is_dir() {
        return Err(WrongUsage(format!("there is no folder {}", folder_of(file).display())));
    }
    match file.is_dir() {
        true => Err(WrongUsage(format!("{} is a folder", file.display()))),
        false => Ok(()),
    }
}

/// Puts a page in its place, whole or not at all.
///
/// # Errors
/// If it can't be written: what was there before is there still.
pub fn write(file: &Path, page: &str) -> Result<()> {
    replace(file, page).with_context(|| format!("{} could not be written", file.display()))
}

fn replace(file: &Path, page: &str) -> io::Result<()> {
    let mut unfinished = tempfile::Builder::new()
        .prefix(".report-")
        .suffix(".html")
        .permissions(Permissions::from_mode(0o666)) // less what the umask takes
        .tempfile_in(folder_of(file))?;
    unfinished.write_all(page.as_bytes())?;
    unfinished.as_file().sync_all()?;
    unfinished.persist(file).map_err(|error| error.error)?;
    Ok(())
}

fn folder_of(file: &Path) -> &Path {
    match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// The page, of the table at `place`.
///
/// # Errors
/// If a plot can't be drawn.
pub fn page(report: &Report, by: By, place: &str, made: Timestamp) -> Result<String> {
    let title = format!("Refunds {}", report.period);
    let plots = plots(report)?;
    let made = milliseconds(made);
    let group = match by {
        By::Day => "Day",
        By::Tenant => "Tenant",
        By::Provider => "Provider",
    };
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                main {
                    h1 { (title) }
                    p {
                        "Made on " (time(made)) " UTC from the table " (plain(place)) ", by reading all of its "
                        (report.items) " items, with the settings of " (report.tenants) " tenants. Amounts are exact "
                        "and in units of their currency, and those of different currencies are never added. Days are "
                        "UTC's."
                    }
                    @for note in &report.notes {
                        p.note { (plain(note)) }
                    }
                    h2 { "In all" }
                    (all_table(report))
                    (explanation(by))
                    @if !plots.is_empty() {
                        h2 { "Over time" }
                        @for plot in &plots { (plot) }
                    }
                    h2 { "By " (group.to_lowercase()) }
                    (group_table(report, by, group))
                    h2 { "Open now" }
                    (open_table(report, made))
                }
            }
        }
    };
    Ok(page.into_string())
}

/// What each number is.
fn explanation(by: By) -> Markup {
    html! {
        dl {
            dt { "Refunds" }
            dd {
                "Made in the period because a caller asked for them: eBET for bets, merchants for payments. One "
                "counts on the day on which it was made, with what was paid back."
            }
            dt { "Own" }
            dd { "Made in the period by channels on their own, unasked. They are not among the refunds." }
            dt { "Failed" }
            dd { "Recorded as failed in the period: no money went back." }
            dt { "Open now" }
            dd { "Begun, and neither made nor failed when this page was made, whenever they began." }
            @if by == By::Day {
                dt { "Other days" }
                dd { "By day, what is open stands with the day on which it began; here, if that is not in the period." }
            }
        }
    }
}

// ---- tables ----

/// A table; its first columns are texts, the others numbers.
fn table(caption: &str, texts: usize, titles: &[&str], rows: &[Vec<String>]) -> Markup {
    html! {
        div.wide {
            table {
                caption { (caption) }
                thead {
                    tr {
                        @for (at, title) in titles.iter().enumerate() {
                            th.number[at >= texts] scope="col" { (title) }
                        }
                    }
                }
                tbody {
                    @for row in rows {
                        tr {
                            @for (at, cell) in row.iter().enumerate() {
                                td.number[at >= texts] { (cell) }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn sums_cells(unit: &Unit, sums: &Sums) -> impl Iterator<Item = String> {
    let tallies = [sums.refunds, sums.own, sums.failed, sums.open];
    let cells = tallies.map(|tally| [tally.count.to_string(), unit.shown(tally.amount)]);
    cells.into_iter().flatten()
}

fn all_table(report: &Report) -> Markup {
    let row = |(unit, sums): (Unit, Sums)| {
        std::iter::once(plain(&unit.label)).chain(sums_cells(&unit, &sums)).collect::<Vec<String>>()
    };
    let rows: Vec<Vec<String>> = report.in_all().into_iter().map(row).collect();
    table("Of each currency", 1, &[&["Currency"], &SUMS[..]].concat(), &rows)
}

fn group_table(report: &Report, by: By, group: &str) -> Markup {
    let row = |((group, unit), sums): ((Group, Unit), Sums)| {
        let texts = [plain(&group.shown()), plain(&unit.label)];
        texts.into_iter().chain(sums_cells(&unit, &sums)).collect::<Vec<String>>()
    };
    let rows: Vec<Vec<String>> = report.by(by).into_iter().map(row).collect();
    let caption = format!("Of each {} and currency that has any", group.to_lowercase());
    table(&caption, 2, &[&[group, "Currency"], &SUMS[..]].concat(), &rows)
}

/// What is open, with the age it had when the page was made (Unix milliseconds).
fn open_table(report: &Report, made: u64) -> Markup {
    let row = |((group, unit), sums): ((Group, Unit), Sums)| {
        let since = sums.open_since?;
        Some(vec![
            plain(&group.shown()),
            plain(&unit.label),
            time(since),
            age(made.saturating_sub(since)),
            sums.open.count.to_string(),
            unit.shown(sums.open.amount),
        ])
    };
    let rows: Vec<Vec<String>> = report.by(By::Tenant).into_iter().filter_map(row).collect();
    if rows.is_empty() {
        return html! { p { "Nothing." } };
    }
    let titles = ["Tenant", "Currency", "Oldest since (UTC)", "Its age", "Open now", "Open amount"];
    table("Of each tenant, whatever the period", 4, &titles, &rows)
}

// ---- plots ----

/// What stands along a plot's lower axis: days, or months.
#[derive(Debug)]
struct Steps {
    /// In their order; of a month its first day.
    dates: Vec<Date>,
    are_months: bool,
}

impl Steps {
    /// The period's days; of a long period those from the first of `with` to the last, or their months. Nothing where
    /// there is none.
    fn of(period: &Period, with: &BTreeSet<Date>) -> Option<Self> {
        let (first, last) = (*with.first()?, *with.last()?);
        for (first, last) in [(period.first_day(), period.last_day()), (first, last)] {
            let days = std::iter::successors(Some(first), |day| day.tomorrow().ok());
            let dates: Vec<Date> = days.take_while(|day| *day <= last).take(DAYS_MAX + 1).collect();
            if dates.len() <= DAYS_MAX {
                return Some(Self { dates, are_months: false });
            }
        }
        let months = std::iter::successors(Some(first.first_of_month()), |month| {
            month.last_of_month().tomorrow().ok()
        });
        Some(Self { dates: months.take_while(|month| *month <= last).collect(), are_months: true })
    }

    fn name(&self) -> &'static str {
        if self.are_months { "month" } else { "day" }
    }

    fn position(&self, day: Date) -> Option<usize> {
        let date = if self.are_months { day.first_of_month() } else { day };
        self.dates.binary_search(&date).ok()
    }

    /// What stands under a place of the axis: under the middle of a step its date.
    fn label(&self, place: f64) -> String {
        let is_middle = (place - place.round()).abs() < 1e-6;
        let date = self.dates.get(place.round().max(0.0) as usize).filter(|_| is_middle);
        let format = if self.are_months { "%Y-%m" } else { "%m-%d" };
        date.map(|date| date.strftime(format).to_string()).unwrap_or_default()
    }
}

/// One of the parts that a plot's bars are made of.
#[derive(Debug)]
struct Layer {
    name: &'static str,
    color: RGBColor,
    /// For each step, how high.
    values: Vec<f64>,
}

impl Layer {
    fn new(name: &'static str, color: RGBColor, steps: &Steps) -> Self {
        Self { name, color, values: vec![0.0; steps.dates.len()] }
    }

    fn add(&mut self, at: Option<usize>, value: f64) {
        if let Some(height) = at.and_then(|at| self.values.get_mut(at)) {
            *height += value;
        }
    }

    fn is_empty(&self) -> bool {
        self.values.iter().all(|value| *value == 0.0)
    }

    fn color(&self) -> String {
        let RGBColor(red, green, blue) = self.color;
        format!("#{red:02x}{green:02x}{blue:02x}")
    }
}

/// The plots with something in them: of each currency what was paid back, and how many refunds there were.
fn plots(report: &Report) -> Result<Vec<Markup>> {
    let mut days: BTreeMap<Unit, Vec<(Date, Sums)>> = BTreeMap::new();
    for ((group, unit), sums) in report.by(By::Day) {
        if let Group::Day(day) = group
            && [sums.refunds, sums.own, sums.failed].iter().any(|tally| tally.count > 0)
        {
            days.entry(unit).or_default().push((day, sums));
        }
    }
    let with = days.values().flatten().map(|(day, _)| *day).collect();
    let Some(steps) = Steps::of(&report.period, &with) else { return Ok(Vec::new()) };
    let mut plots = Vec::new();
    let mut counts = [("asked for", ASKED_FOR), ("own", OWN), ("failed", FAILED)]
        .map(|(name, color)| Layer::new(name, color, &steps));
    for (unit, days) in &days {
        let mut amounts =
            [("asked for", ASKED_FOR), ("own", OWN)].map(|(name, color)| Layer::new(name, color, &steps));
        for (day, sums) in days {
            let at = steps.position(*day);
            for (layer, tally) in amounts.iter_mut().zip([sums.refunds, sums.own]) {
                layer.add(at, height(tally.amount));
            }
            for (layer, tally) in counts.iter_mut().zip([sums.refunds, sums.own, sums.failed]) {
                layer.add(at, tally.count as f64);
            }
        }
        let caption = format!("Amount paid back each {}, in {}", steps.name(), plain(&unit.label));
        plots.extend(figure(&caption, &steps, &amounts, false)?);
    }
    let caption = format!("Refunds made or failed each {}, of all currencies", steps.name());
    plots.extend(figure(&caption, &steps, &counts, true)?);
    Ok(plots)
}

/// An amount as it is drawn; the tables have the exact one.
fn height(amount: Decimal) -> f64 {
    amount.to_f64().unwrap_or_default()
}

/// A plot with its caption and legend; nothing if there is nothing to draw.
fn figure(caption: &str, steps: &Steps, layers: &[Layer], are_counts: bool) -> Result<Option<Markup>> {
    let layers: Vec<&Layer> = layers.iter().filter(|layer| !layer.is_empty()).collect();
    if layers.is_empty() {
        return Ok(None);
    }
    let mut svg = String::new();
    draw(&mut svg, steps, &layers, are_counts).context("a plot could not be drawn")?;
    Ok(Some(html! {
        figure {
            figcaption {
                (caption) br;
                @for layer in &layers {
                    span.legend { i style=(format!("background: {}", layer.color())) {} (layer.name) }
                }
            }
            div role="img" aria-label=(caption) { (PreEscaped(&svg)) }
        }
    }))
}

/// Draws bars of layers on top of each other.
fn draw(svg: &mut String, steps: &Steps, layers: &[&Layer], are_counts: bool) -> Result<()> {
    let mut tops: Vec<f64> = vec![0.0; steps.dates.len()];
    for layer in layers {
        tops.iter_mut().zip(&layer.values).for_each(|(top, value)| *top += value);
    }
    let highest = tops.into_iter().fold(0.0, f64::max);
    // Few of them get no labels in between.
    let highest = if are_counts { highest.max(5.0) } else { highest };
    let label_area = 40 + 8 * i32::try_from(tick(highest, are_counts).len())?;

    let root = SVGBackend::with_string(svg, PLOT_SIZE).into_drawing_area();
    let mut chart = ChartBuilder::on(&root)
        .margin(8)
        .x_label_area_size(28)
        .y_label_area_size(label_area)
        .build_cartesian_2d(-0.5..steps.dates.len() as f64 - 0.5, 0.0..highest * 1.05)?;
    let under = |place: &f64| steps.label(*place);
    let beside = |value: &f64| tick(*value, are_counts);
    chart
        .configure_mesh()
        .disable_x_mesh()
        .max_light_lines(0)
        .x_labels(12)
        .y_labels(6)
        .x_label_formatter(&under)
        .y_label_formatter(&beside)
        .axis_style(GREY)
        .bold_line_style(GREY.mix(0.4))
        .label_style(("sans-serif", 15, &GREY))
        .draw()?;
    let mut bases: Vec<f64> = vec![0.0; steps.dates.len()];
    for layer in layers {
        let mut bars = Vec::new();
        for (at, (value, base)) in layer.values.iter().zip(&mut bases).enumerate() {
            if *value > 0.0 {
                let (place, from, to) = (at as f64, *base, *base + value);
                let corners = [(place - HALF_A_BAR, to), (place + HALF_A_BAR, from)];
                bars.push(Rectangle::new(corners, layer.color.filled()));
                *base = to;
            }
        }
        chart.draw_series(bars)?;
    }
    root.present()?;
    Ok(())
}

/// What stands beside the other axis: of counts, nothing beside parts of one.
fn tick(value: f64, is_count: bool) -> String {
    let text = format!("{value:.3}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if is_count && text.contains('.') { String::new() } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::report;

    fn shown(by: By) -> String {
        let made = "2026-11-05T00:00:01Z".parse().unwrap();
        page(&report(), by, "refunds<prod> at AWS", made).unwrap()
    }

    #[test]
    fn a_page_needs_nothing_else_and_says_what_it_shows() {
        for by in [By::Day, By::Tenant, By::Provider] {
            let page = shown(by);
            let links = page.replace("http://www.w3.org/2000/svg", "");
            for foreign in ["http", "<script", "<link", "src=", "href=", "url(", "@import"] {
                assert!(!links.contains(foreign), "{foreign}: {page}");
            }
            assert!(page.starts_with("<!DOCTYPE html><html lang=\"en\">"), "{page}");
            for told in [
                "<h1>Refunds from 2026-11-01 to 2026-11-30 (UTC)</h1>",
                "Made on 2026-11-05 00:00:01 UTC from the table refunds&lt;prod&gt; at AWS",
                "14 items",
                "1027.35",
                "358.5",
                "50.01",
                "4 d",
                "prefers-color-scheme: dark",
            ] {
                assert!(page.contains(told), "{told}: {page}");
            }
            assert_eq!(page.contains("Other days"), by == By::Day);
        }
    }

    #[test]
    fn there_is_a_plot_of_each_currency_and_one_of_counts() {
        let page = shown(By::Tenant);
        for caption in [
            "Amount paid back each day, in CNY",
            "Amount paid back each day, in JPY",
            "Refunds made or failed each day, of all currencies",
        ] {
            assert!(page.contains(&format!("aria-label=\"{caption}\"><svg ")), "{caption}: {page}");
        }
        assert_eq!((page.matches("<svg ").count(), page.matches("</svg>").count()), (3, 3));
        for color in [ASKED_FOR, OWN, FAILED] {
            let RGBColor(red, green, blue) = color;
            let bar = format!("fill=\"#{red:02X}{green:02X}{blue:02X}\"");
            assert!(page.contains(&bar), "{bar}: {page}");
        }
        assert!(page.contains("\n11-06\n"), "days stand under their bars: {page}");
    }

    #[test]
    fn long_periods_are_drawn_by_the_days_that_have_something_or_by_months() {
        let day = |text: &str| text.parse::<Date>().unwrap();
        let period = |from: &str, until: &str| Period {
            from: format!("{from}T00:00:00Z").parse().unwrap(),
            until: format!("{until}T00:00:00Z").parse().unwrap(),
        };
        for (from, until, with, steps) in [
            ("2026-11-01", "2026-12-01", &["2026-11-05"][..], Some((30, "2026-11-01", false))),
            ("2020-01-01", "2027-01-01", &["2026-11-05", "2026-11-07"], Some((3, "2026-11-05", false))),
            ("2020-01-01", "2027-01-01", &["2025-11-05", "2026-11-07"], Some((13, "2025-11-01", true))),
            ("2020-01-01", "2027-01-01", &[], None),
        ] {
            let with = with.iter().map(|text| day(text)).collect();
            let made = Steps::of(&period(from, until), &with);
            let told =
                made.as_ref().map(|made| (made.dates.len(), made.dates[0].to_string(), made.are_months));
            assert_eq!(told, steps.map(|(count, first, are_months)| (count, first.to_owned(), are_months)));
        }
        let months =
            Steps::of(&period("2020-01-01", "2027-01-01"), &[day("2025-11-05"), day("2026-11-07")].into());
        let months = months.unwrap();
        assert_eq!((months.position(day("2025-12-31")), months.position(day("2024-12-31"))), (Some(1), None));
        for (place, label) in [(0.0, "2025-11"), (2.0, "2026-01"), (0.5, ""), (-0.5, ""), (13.0, "")] {
            assert_eq!(months.label(place), label, "{place}");
        }
    }

    #[test]
    fn an_axis_has_whole_counts_and_short_amounts() {
        for (value, is_count, text) in [
            (0.0, true, "0"),
            (2.0, true, "2"),
            (2.5, true, ""),
            (0.1 + 0.2, false, "0.3"),
            (1500.0, false, "1500"),
        ] {
            assert_eq!(tick(value, is_count), text);
        }
    }

    #[test]
    fn a_page_is_put_in_the_place_of_an_older_one_and_nothing_else_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("report.html");
        for page in ["older", "newer"] {
            check(&file).unwrap();
            write(&file, page).unwrap();
            assert_eq!(std::fs::read_to_string(&file).unwrap(), page);
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        for wrong in [folder.path().to_owned(), folder.path().join("none/report.html")] {
            assert!(check(&wrong).is_err(), "{}", wrong.display());
        }
        assert!(write(&folder.path().join("none/report.html"), "").is_err());
    }
}
