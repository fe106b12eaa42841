//! Every limit of the system, each with its reason.

use std::time::Duration;

/// Largest request body, in bytes. A Lambda event holds at most 6 MB, and escaping or base64 makes a
/// body up to a third longer on its way into one.
pub const BODY_BYTES_MAX: usize = 4_500_000;

/// Largest answer, in bytes, as a function gives it to its gateway: Lambda passes on 6 MB.
pub const ANSWER_BYTES_MAX: usize = 6_000_000;

/// Largest amount or opening balance, in units of its currency. Far above any wallet, and far enough
/// below what `Decimal` holds (7.9 × 10^28) that no sum of postings can overflow it.
pub const AMOUNT_MAX: i64 = 1_000_000_000_000_000;

/// Decimals of an amount. eBET: amounts count to two decimals.
pub const AMOUNT_DECIMALS_MAX: u32 = 2;

/// Longest text of a number that is read as an amount, in bytes: sign, 16 digits, point, decimals and
/// exponent have ample room, and nothing longer is worth parsing.
pub const NUMBER_BYTES_MAX: usize = 64;

/// Longest text member where the provider documents no limit, in characters.
pub const TEXT_CHARS_MAX: usize = 128;

/// Longest signature, in characters: base64 of 4096 bits, the longest key, with room for line breaks.
pub const SIGNATURE_CHARS_MAX: usize = 1_000;

/// Items of one request. Providers send thousands; an answer that echoes that many ids is still below
/// [`ANSWER_BYTES_MAX`] (a batch echoes more, and is refused where it would not be). What can't be carried out
/// before the deadline is completed when the request is sent again.
pub const ITEMS_PER_REQUEST_MAX: usize = 10_000;

/// Keys of one BatchGetItem call (DynamoDB).
pub const KEYS_PER_READ_MAX: usize = 100;

/// Actions of one TransactWriteItems or TransactGetItems call (DynamoDB).
pub const ACTIONS_PER_TRANSACTION_MAX: usize = 100;

/// [`ACTIONS_PER_TRANSACTION_MAX`]; tests may make it smaller, so that small requests need several transactions.
pub fn actions_per_transaction() -> usize {
    #[cfg(feature = "simulation")]
    if let Some(small) = simulated::ACTIONS_PER_TRANSACTION.get() {
        return small;
    }
    ACTIONS_PER_TRANSACTION_MAX
}

/// Limits that tests make smaller, each in its thread.
#[cfg(feature = "simulation")]
pub mod simulated {
    use std::cell::Cell;

    thread_local! {
        pub static ACTIONS_PER_TRANSACTION: Cell<Option<usize>> = const { Cell::new(None) };
    }
}

/// Largest body of a call of `record-entries`, in bytes: 25 entries with the longest texts have ample room.
pub const ENTRIES_BODY_BYTES_MAX: usize = 256 * 1024;

/// Longest message about what an entry says, in characters: it quotes what is wrong, which may be any text.
pub const MESSAGE_CHARS_MAX: usize = 300;

/// Entries of one account that are recorded in one transaction: with the account itself it is full.
pub const ENTRIES_PER_TRANSACTION_MAX: usize = ACTIONS_PER_TRANSACTION_MAX - 1;

/// Entries of one call of `record-entries`: an operator's system sends what has just happened, and a call is answered
/// in one round of transactions.
pub const ENTRIES_PER_CALL_MAX: usize = 25;

/// Accounts of one request that are worked on at the same time: enough to keep a small function busy while it
/// waits for the table, and few enough that their connections and memory stay small.
pub const PARTS_AT_ONCE: usize = 32;

/// How long the parts of a request wait for its leading part to claim the key, before one of them does so by a
/// write of its own: many times what a transaction takes, and little of the time there is to answer in.
pub const CLAIM_PATIENCE: Duration = Duration::from_millis(500);

/// How long a part is tried again before it is put off until all others have had their turn: what is still
/// throttled or contended by then may stay so. What is merely slow is not cut off: in a slow table nothing would
/// ever be done.
pub const PART_PATIENCE: Duration = Duration::from_secs(1);

/// How long a read of several parts may take before each of them reads for itself.
pub const GROUP_READ_PATIENCE: Duration = Duration::from_secs(2);

/// How long the record that ties an idempotency key to one executed request is kept. Longer than any
/// provider sends again; what makes a refund happen once is the debit's own permanent fact.
pub const REQUEST_RECORD_KEPT: Duration = Duration::from_secs(90 * 24 * 60 * 60);

/// How long it is known that a debit's refund was asked for before it came: much longer than any provider asks again,
/// which is for days, or any debit is late. Asked for again, it is known anew.
pub const TOMBSTONE_KEPT: Duration = Duration::from_secs(90 * 24 * 60 * 60);

/// How old a tombstone may be and still stand for one that is put now: renewing costs a write unit.
pub const TOMBSTONE_RENEWED_AFTER: Duration = Duration::from_secs(24 * 60 * 60);

/// Tombstones that a part of a request puts at the same time: with those of the other parts, few connections.
pub const TOMBSTONES_AT_ONCE: usize = 4;

/// A request is answered within this time of its arrival: an HTTP API cuts at 30 s.
pub const ANSWER_WITHIN: Duration = Duration::from_secs(29);

/// Time kept free before the deadline for writing the answer.
pub const ANSWER_RESERVE: Duration = Duration::from_secs(1);

/// How long tenants' settings are cached in a process, in wall-clock time: a process that was frozen
/// and thawed must not go on with old settings.
pub const SETTINGS_CACHED: Duration = Duration::from_secs(30);

/// Settings cached in a process; beyond that the cache starts afresh.
pub const SETTINGS_CACHED_MAX: usize = 1_000;

/// How far a request's timestamp may be from now, in seconds, unless its channel says otherwise.
pub const SIGNATURE_AGE_SECONDS_DEFAULT: u64 = 24 * 60 * 60;

/// Largest body of an EPay call, in bytes. Its few members take less than 2 KB in any format and encoding; what
/// is larger is not worth parsing.
pub const EPAY_BODY_BYTES_MAX: usize = 64 * 1024;

/// Elements within elements of an XML body: its members stand in the root, and a sender's own ones may be a few
/// levels deep.
pub const XML_DEPTH_MAX: usize = 16;

/// Attributes of one element of an XML body: namespaces, and a `nil`.
pub const XML_ATTRIBUTES_MAX: usize = 32;

/// Longest `batch_no`, in characters, as `BeginSingle` documents it.
pub const BATCH_NO_CHARS_MAX: usize = 50;

/// Longest `batchno`, in characters, as `EndSingle` documents it.
pub const CONFIRMED_BATCH_NO_CHARS_MAX: usize = 200;

/// Longest `refundaccount`, in characters, as `BeginSingle` documents it.
pub const REFUND_ACCOUNT_CHARS_MAX: usize = 50;

/// Longest `trandeno`, in characters, as `EndSingle` documents it.
pub const TRADE_NO_CHARS_MAX: usize = 100;

/// Significant digits that a double carries whatever they are: an amount that comes as one is exact up to here.
pub const DOUBLE_DIGITS_MAX: usize = 15;

/// Shortest secret of a tenant, in characters. A key is all that stands between a stranger and the refunds.
pub const SECRET_CHARS_MIN: usize = 16;

/// Longest `batch_no` of a batch of refunds, in characters, as Ping++ documents it.
pub const MERCHANT_BATCH_NO_CHARS_MAX: usize = 24;

/// Charges of one batch, as Ping++ documents it.
pub const CHARGES_PER_BATCH_MAX: usize = 100;

/// Charges that a batch's first transaction holds, 96: with the batch, its number's guard and two funding accounts it
/// is full. So is the one that takes them back.
pub fn charges_held_at_once() -> usize {
    actions_per_transaction().saturating_sub(4).max(1)
}

/// Longest description of a batch or of one of its refunds, in characters, as Ping++ documents it.
pub const DESCRIPTION_CHARS_MAX: usize = 255;

/// Shortest `batch_no` of a batch of refunds, in characters, as Ping++ documents it.
pub const MERCHANT_BATCH_NO_CHARS_MIN: usize = 3;

/// Pairs of a batch's metadata, and characters of its JSON text, as Ping++ documents them.
pub const METADATA_PAIRS_MAX: usize = 10;
pub const METADATA_CHARS_MAX: usize = 1_000;

/// How far a signed request's timestamp may be from now, at Ping++'s endpoints.
pub const REQUEST_SIGNATURE_AGE: Duration = Duration::from_secs(5 * 60);

/// Batches of one page of a list, as Ping++ documents it, and where the caller says nothing.
pub const PAGE_BATCHES_MAX: usize = 100;
pub const PAGE_BATCHES_DEFAULT: usize = 10;

/// Largest body of an answer in bytes, as it is quoted within the JSON that a function gives to its gateway: the rest
/// is room for what stands around it.
pub const QUOTED_BODY_BYTES_MAX: usize = ANSWER_BYTES_MAX - 1_000;

/// Pages of a list that are counted to; further ones are reached from the last batch seen.
pub const PAGES_MAX: usize = 100;

/// Longest name of a payment channel, in characters: Ping++'s have at most 20.
pub const CHANNEL_NAME_CHARS_MAX: usize = 64;

/// Longest code, message and URL that are kept of what a payment channel says, in characters: what is longer is cut.
pub const FAILURE_CODE_CHARS_MAX: usize = 64;
pub const FAILURE_MESSAGE_CHARS_MAX: usize = 255;
pub const CONFIRMATION_URL_CHARS_MAX: usize = 2_000;

/// Events of one call (EventBridge).
pub const EVENTS_PER_CALL_MAX: usize = 10;

/// What stands around an event, in bytes: its time, source and type.
pub const EVENT_BYTES_AROUND: usize = 256;

/// Largest event, in bytes: EventBridge takes 256 KB in one call, with what stands around.
pub const EVENT_BYTES_MAX: usize = 256 * 1024 - EVENT_BYTES_AROUND;

/// Open batches that a sweep looks for at a time; it goes on with the next ones while it has time.
pub const BATCHES_PER_LOOK_MAX: usize = 400;

/// Batches that are brought on at the same time by one process; each asks for [`PARTS_AT_ONCE`] refunds at once.
pub const BATCHES_AT_ONCE: usize = 4;

/// Open batches that are looked through for a refund of which nothing is on record yet.
pub const OPEN_BATCHES_SEARCHED_MAX: usize = 8_000;
