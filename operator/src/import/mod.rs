//! `refundctl import`: channels, wallets, past debits, merchants, applications, apps, keys and charges from JSON lines.
//!
//! The whole file is read and checked before anything is written. Then each line is one conditional
//! write: a money fact that is there already is never overwritten, so a killed import is finished by
//! running it again.

mod line;
mod look;
mod progress;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::io::{BufRead, BufReader, Cursor, Seek};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, anyhow, bail};
use clap::Args;
use comfy_table::Table;
use futures::{StreamExt, TryStreamExt, stream};
use indicatif::{ProgressBar, ProgressStyle};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use shared::entries::{currency_of, tenant_name};
use shared::ledger::{Account, AccountKey, CredentialKey, Currency, DebitState, TenantKey};
use shared::pingpp::{self, AppId, SecretKey};
use shared::store::{Creation, DebitOnRecord, Session, SettingsChange, Store};

use crate::agreement::{self, Agreement};
use crate::screen::{hex, plain};
use crate::state;
use crate::target::{TableOptions, session};
use crate::tell;
use line::{Fact, Line};
use look::look;
use progress::Progress;

pub const EXAMPLES: &str = "\
One JSON object a line (those of app and charge are folded here). Amounts are strings, so that no digit is lost; those
of apps and charges whole numbers of the currency's smallest unit:
  {\"kind\":\"channel\",\"channelId\":1,\"currency\":\"CNY\",\"publicKeys\":[\"-----BEGIN PUBLIC KEY-----\\n…\"]}
       optional: \"allowedIps\":[\"203.0.113.0/24\"], \"refundLimit\":\"100000.00\", \"partialRefunds\":false,
                 \"enabled\":true, \"maxAge\":86400,
                 \"batchSignature\":[\"channelId+timestamp\",\"username+timestamp\",\"timestamp\"]
  {\"kind\":\"wallet\",\"channelId\":1,\"username\":\"apitest01\",\"balance\":\"0\"}
  {\"kind\":\"debit\",\"channelId\":1,\"username\":\"apitest01\",\"seqNo\":\"bet-1\",\"roundCode\":\"B1-1\",\"amount\":\"10.50\"}
       optional: \"state\":\"open\"|\"settled\"
  {\"kind\":\"merchant\",\"merchant\":\"demo\",\"apiKeys\":[\"at least 16 characters\"],\"currency\":\"CNY\"}
       optional: \"enabled\":true; of the keys the hashes alone are stored
  {\"kind\":\"application\",\"merchant\":\"demo\",\"autoid\":1,\"amount\":\"2.00\",\"orderNo\":\"YC20160801001\"}
       optional: \"status\":0
  {\"kind\":\"app\",\"app\":\"app_1Gqj58ynP0mHeX1q\",\"livemode\":false,\"currency\":\"cny\",
                \"unsettledFunds\":100000,\"rechargeFunds\":50000}
       optional: the funds; \"publicKey\":\"-----BEGIN PUBLIC KEY-----\\n…\", \"requireSignature\":false
  {\"kind\":\"key\",\"secret\":\"sk_test_ibbTe5jLGCi5rzfH4OqPW9KC\",\"apps\":[\"app_1Gqj58ynP0mHeX1q\"]}
       its prefix names the mode; of the secret the hash alone is stored; \"apps\":[] with --replace revokes it
  {\"kind\":\"charge\",\"app\":\"app_1Gqj58ynP0mHeX1q\",\"livemode\":false,\"id\":\"ch_L8qn10mLmr1GS8e5OODmHaL4\",
                \"amount\":1000,\"currency\":\"cny\",\"channel\":\"wx_pub\",\"orderNo\":\"123456789\",\"created\":1409634160}
       optional: \"amountRefunded\":0, \"transactionNo\":\"2004…\", \"paid\":true, \"timePaid\":1409634192

Examples:
  refundctl import facts.jsonl                       into the running local stack; asks why, and whether
  refundctl import facts.jsonl --dry-run --stage prod
  zcat facts.jsonl.gz | refundctl import - --yes --reason 'opening balances'
  refundctl import facts.jsonl --stage prod          into AWS, by your AWS settings

An interrupted import goes on where it stopped: run the same command again.

Exit codes: 0 everything is in the table; 1 a line is wrong (then nothing was written), or in conflict
with what is there (then that stays); 2 wrong usage.";

/// Writes under way at the same time.
const WRITES_AT_ONCE: usize = 64;

/// Wrong lines that are shown; the others are counted.
const WRONG_LINES_SHOWN: usize = 20;

#[derive(Debug, Args)]
pub struct Options {
    /// File of JSON lines; - for standard input
    file: PathBuf,
    /// Begin anew, even if an interrupted import of the same lines could be gone on with
    #[arg(long)]
    restart: bool,
    #[command(flatten)]
    agreement: Agreement,
    #[command(flatten)]
    table: TableOptions,
    #[command(flatten)]
    settings: Settings,
}

#[derive(Debug, Clone, Default, Args)]
pub struct Settings {
    /// Replace settings of channels, merchants, apps and keys that are there already, in effect everywhere within 30 s;
    /// money facts are never replaced
    #[arg(long)]
    pub replace: bool,
}

pub async fn command(options: &Options) -> Result<ExitCode> {
    let mut source = Source::open(&options.file)?;
    let store = options.table.store().await?;
    let checked = check(&store, &mut source).await?;
    if checked.numbers.is_empty() {
        bail!("there is nothing to import: it has no lines");
    }
    if options.agreement.dry_run {
        let report = look_at_all(&store, &mut source, &checked, &options.settings).await?;
        options.agreement.ask(&options.table, &checked.changes(&options.settings)).await?;
        crate::screen::out(&report.to_string())?;
        return Ok(if report.conflicts.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    let Some(agreed) = options.agreement.ask(&options.table, &checked.changes(&options.settings)).await?
    else {
        return Ok(ExitCode::SUCCESS);
    };
    let table = options.table.identity(&store).await?;
    let what = format!("{table}\n{}\n{}", checked.digest, options.settings.replace);
    let mut progress = Progress::of_file(state::file("import", &what)?, options.restart);
    check_progress(&store, &mut source, &checked, &options.settings, &mut progress).await?;
    if progress.done() > 0 {
        tell!("going on behind line {}; --restart begins anew", progress.done());
    }
    let mut begun = Vec::new();
    for tenant in &checked.tenants {
        begun.push(agreed.begin(&store, tenant, "import", &checked.action()).await?);
    }
    let told = tokio::select! {
        told = write_all(&store, &mut source, &checked, &options.settings, progress) => told,
        _ = tokio::signal::ctrl_c() => Err(anyhow!("interrupted; the same command goes on where it stopped")),
    };
    let outcome = match &told {
        Ok(report) => report.outcome(),
        Err(error) => format!("stopped on the way: {error:#}"),
    };
    for intervention in &begun {
        agreement::end(&store, intervention, &outcome).await;
    }
    let report = told?;
    crate::screen::out(&report.to_string())?;
    Ok(if report.conflicts.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What an interrupted import has done must still be there: a table may have been restored since.
async fn check_progress(
    store: &Store,
    source: &mut Source,
    checked: &Checked,
    settings: &Settings,
    progress: &mut Progress,
) -> Result<()> {
    let done = progress.done();
    let Some((_, text)) = source.lines()?.find(|(number, _)| *number == done) else { return Ok(()) };
    let line = Line::read(&text?)?;
    if matches!(look(&session(store), &line, &checked.currencies, settings).await?, Outcome::Created) {
        progress.begin_anew();
    }
    Ok(())
}

/// Lines that can be read twice: to check them, and to write them.
pub enum Source {
    File(BufReader<File>),
    Text(Cursor<String>),
}

impl Source {
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(Cursor::new(text.into()))
    }

    fn open(path: &std::path::Path) -> Result<Self> {
        if path.as_os_str() == "-" {
            // A pipe can't be read twice, so it is kept in a file that goes with the process.
            let mut file = tempfile::tempfile()?;
            std::io::copy(&mut std::io::stdin().lock(), &mut file)
                .context("could not read standard input")?;
            file.rewind()?;
            return Ok(Self::File(BufReader::new(file)));
        }
        let file = File::open(path).with_context(|| format!("could not open {}", path.display()))?;
        if file.metadata().is_ok_and(|what| what.is_dir()) {
            bail!("{} is a folder: name a file of JSON lines", path.display());
        }
        Ok(Self::File(BufReader::new(file)))
    }

    /// The lines that are not blank, from the beginning, with their numbers.
    fn lines(&mut self) -> Result<impl Iterator<Item = (usize, Result<String>)> + '_> {
        let reader: &mut (dyn BufRead + Send) = match self {
            Self::File(file) => {
                file.rewind().context("the file can't be read twice; use - for a pipe")?;
                file
            }
            Self::Text(text) => {
                text.set_position(0);
                text
            }
        };
        // What can't be read at one place can't be behind it either.
        let mut has_failed = false;
        let until_failure = BufRead::split(reader, b'\n').take_while(move |bytes| {
            let goes_on = !has_failed;
            has_failed |= bytes.is_err();
            goes_on
        });
        let lines = (1..).zip(until_failure);
        let text =
            |bytes: std::io::Result<Vec<u8>>| String::from_utf8(bytes?).map_err(|_| anyhow!("is not UTF-8"));
        let lines = lines.map(move |(number, bytes)| {
            // Some programs begin a file with a mark that says that it is UTF-8.
            (number, text(bytes).map(|text| text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text)))
        });
        Ok(lines.filter(|(_, line)| !line.as_ref().is_ok_and(|line| line.trim().is_empty())))
    }
}

/// What an import did.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Report {
    /// By kind, then by what became of the line.
    counts: BTreeMap<String, BTreeMap<String, u64>>,
    /// What is on record otherwise, by line, and stays.
    pub conflicts: Vec<(usize, String)>,
    /// Debits whose refund was asked for, and refused, before they were on record.
    pub due: Vec<(usize, String)>,
}

impl Report {
    fn take(&mut self, number: usize, kind: &str, outcome: Outcome) {
        let of_kind = self.counts.entry(kind.to_owned()).or_default();
        *of_kind.entry(outcome.name().to_owned()).or_default() += 1;
        match outcome {
            Outcome::Conflict(why) => self.conflicts.push((number, why)),
            Outcome::Due(debit) => self.due.push((number, debit)),
            Outcome::Created | Outcome::Unchanged | Outcome::Replaced => {}
        }
    }

    fn rows(&self) -> impl Iterator<Item = (&str, &str, u64)> {
        self.counts.iter().flat_map(|(kind, outcomes)| {
            outcomes.iter().map(move |(outcome, count)| (kind.as_str(), outcome.as_str(), *count))
        })
    }

    /// In a line, for the record.
    fn outcome(&self) -> String {
        let rows: Vec<String> =
            self.rows().map(|(kind, outcome, count)| format!("{count} {kind} {outcome}")).collect();
        rows.join(", ")
    }
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut table = Table::new();
        table.load_style(comfy_table::presets::NOTHING);
        for (kind, outcome, count) in self.rows() {
            table.add_row([kind.to_owned(), outcome.to_owned(), count.to_string()]);
        }
        writeln!(f, "{table}")?;
        for (number, debit) in &self.due {
            writeln!(
                f,
                "line {number}: the refund of {} was asked for before it was on record; \
                 asked for under a new number, it is made",
                plain(debit)
            )?;
        }
        for (number, conflict) in &self.conflicts {
            writeln!(f, "line {number}: conflict: {conflict}")?;
        }
        Ok(())
    }
}

/// Checks all lines of `source`, then writes them.
///
/// # Errors
/// Names wrong lines by number and reason; then nothing was written.
pub async fn run(store: &Store, mut source: Source, settings: &Settings) -> Result<Report> {
    let checked = check(store, &mut source).await?;
    write_all(store, &mut source, &checked, settings, Progress::default()).await
}

/// Writes all lines behind those that `progress` has done.
async fn write_all(
    store: &Store,
    source: &mut Source,
    checked: &Checked,
    settings: &Settings,
    mut progress: Progress,
) -> Result<Report> {
    let done = progress.done();
    let bar = bar(checked.numbers.len())?;
    let currencies = &checked.currencies;
    bar.inc(checked.numbers.partition_point(|number| *number <= done) as u64);
    let writes = source.lines()?.filter(|(number, _)| *number > done).map(|(number, line)| async move {
        let line = Line::read(&line?).map_err(|error| anyhow!("line {number} has changed: {error}"))?;
        let kind = line.kind();
        let outcome = write(&session(store), line, currencies, settings)
            .await
            .with_context(|| format!("line {number}; run the import again to finish it"))?;
        Ok::<_, anyhow::Error>((number, kind, outcome))
    });
    // In their order, so that it is known how far it has come.
    let mut written = stream::iter(writes).buffered(WRITES_AT_ONCE);
    while let Some((number, kind, outcome)) = written.try_next().await? {
        bar.inc(1);
        progress.take(number, kind, outcome)?;
    }
    drop(written);
    bar.finish_and_clear();
    Ok(progress.finish())
}

/// What writing all lines would come to.
async fn look_at_all(
    store: &Store,
    source: &mut Source,
    checked: &Checked,
    settings: &Settings,
) -> Result<Report> {
    let bar = bar(checked.numbers.len())?;
    let looks = source.lines()?.map(|(number, text)| async move {
        let line = Line::read(&text?)?;
        let outcome = look(&session(store), &line, &checked.currencies, settings).await?;
        Ok::<_, anyhow::Error>((number, line.kind(), outcome))
    });
    let mut report = Report::default();
    let mut looked = stream::iter(looks).buffered(WRITES_AT_ONCE);
    while let Some((number, kind, outcome)) = looked.try_next().await? {
        bar.inc(1);
        report.take(number, kind, outcome);
    }
    bar.finish_and_clear();
    Ok(report)
}

fn bar(lines: usize) -> Result<ProgressBar> {
    let style =
        ProgressStyle::with_template("{wide_bar} {human_pos}/{human_len} lines, {per_sec}, {eta} left")?;
    Ok(ProgressBar::new(lines as u64).with_style(style))
}

/// Lines that can be written.
struct Checked {
    /// Their numbers.
    numbers: Vec<usize>,
    kinds: BTreeMap<&'static str, u64>,
    /// What accounts would be opened with, by currency.
    openings: BTreeMap<String, Decimal>,
    /// Settings that are there and are others: what of them is.
    replaced: Vec<String>,
    /// All that a line names, or takes something from.
    tenants: BTreeSet<TenantKey>,
    /// Of every tenant that a line names.
    currencies: HashMap<TenantKey, Currency>,
    /// SHA-256 over all lines.
    digest: String,
}

impl Checked {
    /// What writing it changes, for people to agree to.
    fn changes(&self, settings: &Settings) -> Vec<String> {
        let mut changes: Vec<String> =
            self.kinds.iter().map(|(kind, count)| format!("{count} lines of {kind}")).collect();
        let opened = |(currency, sum): (&String, &Decimal)| {
            format!("accounts opened with {sum} {currency} in all, but for those that are there already")
        };
        changes.extend(self.openings.iter().map(opened));
        if settings.replace {
            changes.extend(self.replaced.iter().cloned());
        }
        changes
    }

    /// What is done with it, for the record.
    fn action(&self) -> String {
        format!("import {} lines, sha256 {}", self.numbers.len(), self.digest)
    }
}

/// Reads all lines, and complains about all that can't be written.
async fn check(store: &Store, source: &mut Source) -> Result<Checked> {
    let mut wrong: Vec<(usize, String)> = Vec::new();
    let mut numbers = Vec::new();
    let mut kinds: BTreeMap<&'static str, u64> = BTreeMap::new();
    let mut openings: BTreeMap<AccountKey, Decimal> = BTreeMap::new();
    let mut settings_now: BTreeMap<TenantKey, String> = BTreeMap::new();
    let mut keys: Vec<(usize, SecretKey, bool)> = Vec::new();
    let mut all_lines = Sha256::new();
    let mut currencies = HashMap::new();
    let mut named: BTreeMap<TenantKey, usize> = BTreeMap::new();
    let mut owners: HashMap<CredentialKey, (usize, TenantKey)> = HashMap::new();
    let mut charged: BTreeMap<(TenantKey, String), usize> = BTreeMap::new();
    let mut seen: HashMap<[u8; 32], (usize, [u8; 32])> = HashMap::new();
    for (number, line) in source.lines()? {
        numbers.push(number);
        if let Ok(line) = &line {
            all_lines.update(line);
            all_lines.update("\n");
        }
        let line = match line.and_then(|line| Line::read(&line)) {
            Ok(line) => line,
            Err(error) => {
                wrong.push((number, line::masked(&format!("{error:#}"))));
                continue;
            }
        };
        let (name, facts) = (digest(&line.name()), digest(&format!("{line:?}")));
        match seen.insert(name, (number, facts)) {
            Some((first, other)) if other != facts => {
                wrong.push((number, format!("contradicts line {first}: the same {} otherwise", line.kind())));
            }
            _ => {}
        }
        *kinds.entry(line.kind()).or_default() += 1;
        openings.extend(line.openings());
        settings_now.extend(line.settings().map(|(tenant, json)| (tenant, json.to_owned())));
        if let Line::Key { key, apps } = &line {
            keys.push((number, key.clone(), apps.is_empty()));
        }
        let tenants = line.tenants();
        for tenant in &tenants {
            named.entry(tenant.clone()).or_insert(number);
        }
        let Some(tenant) = tenants.into_iter().next() else { continue };
        match line {
            Line::Channel { channel, .. } => {
                currencies.insert(tenant, channel.currency);
            }
            Line::App { app, .. } => {
                currencies.insert(tenant, app.currency);
            }
            Line::Fact(Fact::Charge(charge)) => {
                charged.entry((tenant, charge.currency.to_string())).or_insert(number);
            }
            Line::Merchant { merchant, credentials, .. } => {
                for credential in credentials {
                    let (_, owner) = owners.entry(credential).or_insert_with(|| (number, tenant.clone()));
                    if *owner != tenant {
                        let owner = tenant_name(owner);
                        wrong.push((number, format!("names a key that is {owner}'s")));
                    }
                }
                currencies.insert(tenant, merchant.currency);
            }
            Line::Key { .. } | Line::Fact(_) => {}
        }
    }
    let mut tenants: BTreeSet<TenantKey> = named.keys().cloned().collect();
    for (number, key, is_revoked) in keys {
        // Those that lose a key are concerned as those that get one are.
        let before = session(store).shared_credential(&key.credential).await?;
        if is_revoked && before.is_none() {
            wrong.push((number, "names no app, and no app has this key".to_owned()));
        }
        tenants.extend(before.iter().flatten().map(|app| pingpp::tenant_of(app, key.mode)));
    }
    for (credential, (number, tenant)) in owners {
        // Its merchant would not be put, and what its lines say would be nobody's.
        if session(store).credential(&credential).await?.is_some_and(|owner| owner != tenant) {
            wrong.push((number, format!("a key of {} is another one's", tenant_name(&tenant))));
        }
    }
    let mut replaced = Vec::new();
    for (tenant, json) in settings_now {
        let before = session(store).settings(&tenant).await?.filter(|before| *before != json);
        replaced.extend(before.map(|before| replacement(&tenant, &before, &json)));
    }
    for (tenant, number) in named {
        let recorded = recorded_currency(&session(store), &tenant).await?;
        match (recorded, currencies.get(&tenant)) {
            (Some(recorded), Some(given)) if recorded != *given => {
                let why = format!(
                    "{} is in {recorded}, and so is all it has: a currency can't be changed",
                    tenant_name(&tenant)
                );
                wrong.push((number, why));
            }
            (Some(recorded), None) => {
                currencies.insert(tenant, recorded);
            }
            (None, None) => {
                let why = format!("{} is neither in the file nor in the table", tenant_name(&tenant));
                wrong.push((number, line::masked(&why)));
            }
            (_, Some(_)) => {}
        }
    }
    for ((tenant, currency), number) in charged {
        if currencies.get(&tenant).is_some_and(|of_app| of_app.as_str() != currency) {
            wrong.push((number, format!("{} takes no charges in {currency}", tenant_name(&tenant))));
        }
    }
    if wrong.is_empty() {
        let mut sums: BTreeMap<String, Decimal> = BTreeMap::new();
        for (account, opening) in openings {
            let tenant = account.tenant();
            let unit = if AppId::of_tenant(&tenant).is_some() { " (smallest unit)" } else { "" };
            let currency = currencies.get(&tenant).map(ToString::to_string).unwrap_or_default();
            let sum = sums.entry(currency + unit).or_default();
            *sum = sum.checked_add(opening).context("the accounts would hold more than can be added up")?;
        }
        let digest = hex(&all_lines.finalize());
        return Ok(Checked { numbers, kinds, openings: sums, replaced, tenants, currencies, digest });
    }
    wrong.sort();
    wrong.dedup();
    let shown = wrong.iter().take(WRONG_LINES_SHOWN);
    let mut shown: Vec<String> = shown.map(|(number, why)| format!("  line {number}: {why}")).collect();
    if wrong.len() > WRONG_LINES_SHOWN {
        shown.push(format!("  and {} more lines", wrong.len() - WRONG_LINES_SHOWN));
    }
    bail!("nothing was written:\n{}", shown.join("\n"))
}

/// What replacing settings changes, by their members.
fn replacement(tenant: &TenantKey, before: &str, after: &str) -> String {
    let members = |json: &str| serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(json);
    let (before, after) = (members(before).unwrap_or_default(), members(after).unwrap_or_default());
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let changed = names.into_iter().filter(|name| before.get(*name) != after.get(*name));
    let changed: Vec<String> = changed
        .map(|name| match (before.get(name), after.get(name)) {
            (Some(before @ (serde_json::Value::Bool(_) | serde_json::Value::Number(_))), Some(after)) => {
                format!("{name} from {before} to {after}")
            }
            _ => name.clone(),
        })
        .collect();
    format!("settings of {} replaced: {}", tenant_name(tenant), changed.join(", "))
}

/// The currency of a tenant in the table, if it is there.
async fn recorded_currency(session: &Session, tenant: &TenantKey) -> Result<Option<Currency>> {
    let settings = session
        .settings(tenant)
        .await
        .with_context(|| format!("could not look for {}", tenant_name(tenant)))?;
    let Some(settings) = settings else { return Ok(None) };
    currency_of(tenant, &settings)
        .map(Some)
        .map_err(|error| anyhow!(error))
        .with_context(|| format!("{} in the table", tenant_name(tenant)))
}

fn digest(text: &str) -> [u8; 32] {
    Sha256::digest(text).into()
}

enum Outcome {
    Created,
    Unchanged,
    Replaced,
    /// A debit whose refund was asked for, and refused, before it was on record, now or in an earlier import.
    Due(String),
    Conflict(String),
}

impl Outcome {
    /// `otherwise` says what there is instead, where it stays.
    fn of_settings(change: SettingsChange, otherwise: impl Fn() -> String) -> Self {
        match change {
            SettingsChange::Created => Self::Created,
            SettingsChange::Unchanged => Self::Unchanged,
            SettingsChange::Replaced => Self::Replaced,
            SettingsChange::Kept => Self::Conflict(format!("{}; --replace replaces them", otherwise())),
        }
    }

    /// What is on record under the line's name, and how it differs.
    fn of_existing(difference: Option<impl ToString>, name: impl Fn() -> String) -> Self {
        match difference {
            None => Self::Unchanged,
            Some(difference) => Self::Conflict(format!("{} {}", name(), difference.to_string())),
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Due(_) => "refund due",
            Self::Unchanged => "unchanged",
            Self::Replaced => "replaced",
            Self::Conflict(_) => "conflict",
        }
    }
}

async fn write(
    session: &Session,
    line: Line,
    currencies: &HashMap<TenantKey, Currency>,
    settings: &Settings,
) -> Result<Outcome> {
    if let Line::Key { key, apps } = &line {
        let ids: Vec<String> = apps.iter().map(ToString::to_string).collect();
        let tenant_of = |app: &str| pingpp::tenant_of(app, key.mode);
        let change =
            session.put_shared_credential(&key.credential, &ids, tenant_of, settings.replace).await?;
        return Ok(Outcome::of_settings(change, || "this key names other apps".to_owned()));
    }
    let tenant = line.tenants().into_iter().next().context("the line is nobody's")?;
    match line {
        Line::Key { .. } => bail!("a key is written before"),
        Line::App { app, json, funds } => {
            // The accounts first: what is in conflict changes nothing of the settings.
            let mut has_opened = false;
            for (source, balance) in funds {
                let account = Account::open(app.id.funds(app.mode, source), app.currency.clone(), balance);
                match open_account(session, &account, "account").await? {
                    Outcome::Conflict(why) => return Ok(Outcome::Conflict(why)),
                    outcome => has_opened |= matches!(outcome, Outcome::Created),
                }
            }
            Ok(match write_settings(session, &tenant, &json, settings).await? {
                Outcome::Unchanged if has_opened => Outcome::Created,
                outcome => outcome,
            })
        }
        Line::Channel { json, .. } => write_settings(session, &tenant, &json, settings).await,
        Line::Merchant { json, credentials, .. } => {
            let recorded = session.settings(&tenant).await?;
            if recorded.is_some_and(|recorded| recorded != json) && !settings.replace {
                return Ok(Outcome::of_settings(SettingsChange::Kept, || other_settings(&tenant)));
            }
            // The settings come last: a key that they don't list opens nothing, and one that they list is there.
            let taken = || Outcome::Conflict(format!("a key of {} is another one's", tenant_name(&tenant)));
            for credential in &credentials {
                if session.credential(credential).await?.is_some_and(|owner| owner != tenant) {
                    return Ok(taken());
                }
            }
            for credential in &credentials {
                if let Creation::Existing(owner) = session.create_credential(credential, &tenant).await?
                    && owner != tenant
                {
                    return Ok(taken());
                }
            }
            write_settings(session, &tenant, &json, settings).await
        }
        Line::Fact(fact) => write_fact(session, fact, currencies).await,
    }
}

async fn write_fact(
    session: &Session,
    fact: Fact,
    currencies: &HashMap<TenantKey, Currency>,
) -> Result<Outcome> {
    Ok(match fact {
        Fact::Wallet { account, tenant, balance } => {
            let currency = currencies.get(&tenant).context("its channel's currency is not known")?;
            open_account(session, &Account::open(account, currency.clone(), balance), "wallet").await?
        }
        Fact::Debit { debit, .. } => {
            let DebitOnRecord { is_new, debit: there } = session.create_debit(&debit).await?;
            let is_settled = matches!(debit.state, DebitState::Settled);
            let difference = there.difference_from_past(&debit.round, debit.amount, is_settled);
            match Outcome::of_existing(difference, || format!("debit {}", debit.key.id)) {
                Outcome::Unchanged if there.is_due() => Outcome::Due(there.key.id.to_string()),
                Outcome::Unchanged if is_new => Outcome::Created,
                outcome => outcome,
            }
        }
        Fact::Application(application) => match session.create_application(&application).await? {
            Creation::Created => Outcome::Created,
            Creation::Existing(there) => Outcome::of_existing(there.difference(&application), || {
                format!("application {}", application.key.id)
            }),
        },
        Fact::Charge(charge) => match session.create_charge(&charge).await? {
            Creation::Created => Outcome::Created,
            Creation::Existing(there) => {
                Outcome::of_existing(there.difference(&charge), || format!("charge {}", charge.key.id))
            }
        },
    })
}

async fn write_settings(
    session: &Session,
    tenant: &TenantKey,
    json: &str,
    settings: &Settings,
) -> Result<Outcome> {
    let change = session.put_settings(tenant, json, settings.replace).await?;
    Ok(Outcome::of_settings(change, || other_settings(tenant)))
}

fn other_settings(tenant: &TenantKey) -> String {
    format!("{} has other settings", tenant_name(tenant))
}

/// Opens an account; `what` people call it.
async fn open_account(session: &Session, account: &Account, what: &str) -> Result<Outcome> {
    Ok(match session.create_account(account).await? {
        Creation::Created => Outcome::Created,
        // Postings since then are the account's own business.
        Creation::Existing(there) => account_outcome(account, &there, what),
    })
}

/// What becomes of an account that is there already.
fn account_outcome(account: &Account, there: &Account, what: &str) -> Outcome {
    // Postings since then are the account's own business.
    match (there.opening, &there.currency) == (account.opening, &account.currency) {
        true => Outcome::Unchanged,
        false => Outcome::Conflict(format!(
            "{what} {} was opened with {} {}",
            there.key, there.opening, there.currency
        )),
    }
}
