//! Operators who let secret keys name apps and end them, several at once about few keys, as `refundctl tenant` and
//! `refundctl import` do, and change the same settings; and systems of theirs that each know an application otherwise.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use fastrand::Rng;
use futures::future::BoxFuture;
use serde_json::{Value, json};
use shared::epay::MerchantId;
use shared::ledger::{CredentialKey, TenantKey};
use shared::pingpp::{Mode, SecretKey, tenant_of};
use shared::store::{Content, Creation, SettingsChange, StoreError};

use super::Simulation;
use super::platform::Life;
use super::table::{Items, Moment, content};
use crate::epay::merchant_line;
use crate::world::{entries_event, public_key};

/// A merchant with nothing but applications.
const MERCHANT: &str = "shops";

/// A merchant whose settings change.
const STALLS: &str = "stalls";

pub const APPS: [&str; 3] = ["shop_1", "shop_2", "shop_3"];

/// Of the keys that apps are given and that they lose one by one, those of the beginning; one more is made by whoever
/// comes first.
const NAMES: [&[&str]; 4] = [&["shop_1", "shop_2", "shop_3"], &["shop_1", "shop_3"], &["shop_2"], &[]];

fn secret(key: usize) -> String {
    format!("sk_test_sharedByTheShops{key}")
}

/// A key that files say all apps of, on its own: who has lost it has others.
const OF_FILES: usize = NAMES.len();

pub fn key(number: usize) -> CredentialKey {
    secret(number).parse::<SecretKey>().expect("a key of test mode").credential
}

pub fn app(id: &str) -> TenantKey {
    tenant_of(id, Mode::Test)
}

pub struct Scene {
    world: Arc<World>,
    actors: Mutex<Vec<BoxFuture<'static, ()>>>,
}

struct World {
    simulation: Arc<Simulation>,
    operators: usize,
    beginning: Moment,
    /// Which apps which keys name, as those were told who had it so; nothing where they do not know.
    named: Mutex<BTreeMap<(usize, usize), Option<bool>>>,
    /// Who has a secret that one merchant alone may have.
    owners: Mutex<BTreeMap<u32, TenantKey>>,
    /// What each operator's own member of which settings is, as that one was told; nothing where it does not know.
    settings: Mutex<BTreeMap<(TenantKey, usize), Option<Value>>>,
    /// What is paid for applications, as it was told to be on record.
    paid: Mutex<BTreeMap<i64, String>>,
}

impl Scene {
    pub async fn new(simulation: &Arc<Simulation>, mut rng: Rng) -> Self {
        let line = |app: &&str| json!({"kind": "app", "app": app, "livemode": false, "currency": "cny", "publicKey": public_key()});
        let mut lines: Vec<Value> = APPS.iter().map(line).collect();
        let keys = NAMES.iter().enumerate().filter(|(_, apps)| !apps.is_empty());
        lines.extend(keys.map(|(key, apps)| json!({"kind": "key", "secret": secret(key), "apps": apps})));
        lines.push(merchant_line(MERCHANT, &["theirOwnApiKey00"]));
        lines.push(merchant_line(STALLS, &["anotherOwnApiKey"]));
        simulation.import(&lines).await;
        let pairs = (0..NAMES.len()).flat_map(|key| (0..APPS.len()).map(move |app| (key, app)));
        let named = pairs.map(|(key, app)| ((key, app), Some(NAMES[key].contains(&APPS[app])))).collect();
        let operators = rng.usize(2..=4);
        let world = Arc::new(World {
            simulation: simulation.clone(),
            operators,
            beginning: simulation.table.moment(),
            named: Mutex::new(named),
            owners: Mutex::default(),
            settings: Mutex::default(),
            paid: Mutex::default(),
        });
        let actor = |own| -> BoxFuture<'static, ()> { Box::pin(world.clone().operator(own, rng.fork())) };
        let actors = (0..operators).map(actor).collect();
        Self { world, actors: Mutex::new(actors) }
    }

    pub fn actors(&self) -> Vec<BoxFuture<'static, ()>> {
        std::mem::take(&mut self.actors.lock().unwrap())
    }

    pub fn check_at_rest(&self) {
        let Self { world, .. } = self;
        let pairs: Vec<_> = world.named.lock().unwrap().keys().copied().collect();
        pairs.into_iter().for_each(|pair| world.check_named(pair));
        world.check_owners();
        world.check_settings();
        world.check_paid();
        // A key is only ended if another one stays; keys that files speak of don't count.
        let has_none =
            |items: &Items| APPS.iter().any(|app| !(0..NAMES.len()).any(|key| has(items, app, key)));
        if world.simulation.table.was_ever(&world.beginning, has_none) {
            world.simulation.breach("an app had lost its last key".to_owned());
        }
    }
}

/// Whether an app has a key.
fn has(items: &Items, id: &str, number: usize) -> bool {
    content(items, app(id).as_str(), &format!("KEY#{}", key(number).hash())).is_some()
}

/// The apps that a key names, if it is there.
fn names(items: &Items, number: usize) -> Option<&[String]> {
    match content(items, key(number).as_str(), "CREDENTIAL") {
        Some(Content::SharedCredential { ids }) => Some(ids),
        _ => None,
    }
}

impl World {
    async fn operator(self: Arc<Self>, own: usize, mut rng: Rng) {
        for _ in 0..rng.usize(6..=20) {
            let pause = if rng.u32(0..4) == 0 { 2_000 } else { 60 };
            self.simulation.pause(rng.u64(0..pause)).await;
            match rng.u32(0..13) {
                10.. => self.change_settings(own, &mut rng).await,
                0 => self.put_all(&mut rng).await,
                1 => self.claim(own, rng.u32(0..3)).await,
                2 | 3 => self.say_application(own, rng.i64(1..=3)).await,
                _ => {
                    let mut pairs: Vec<_> = self.named.lock().unwrap().keys().copied().collect();
                    pairs.retain(|(key, app)| (key * APPS.len() + app) % self.operators == own);
                    let pair = rng.choice(pairs).expect("each has some");
                    self.check_named(pair);
                    self.name_or_end(pair, &mut rng).await;
                }
            }
        }
    }

    /// What somebody was told of a key and an app is so: nobody else changes this pair.
    fn check_named(&self, (key, app): (usize, usize)) {
        let known = self.named.lock().unwrap()[&(key, app)];
        let is_named = has(&self.simulation.table.items(), APPS[app], key);
        if known.is_some_and(|known| known != is_named) {
            let what = format!("{} has key {key} is {is_named}, and was told otherwise", APPS[app]);
            self.simulation.breach(what);
        }
    }

    /// Lets a key name an app, or no longer, whichever it is not yet.
    async fn name_or_end(&self, pair: (usize, usize), rng: &mut Rng) {
        let (number, id) = (pair.0, APPS[pair.1]);
        let credential = key(number);
        let before = self.simulation.table.moment();
        let is_named = has(before.items(), id, number);
        let life = Life::new(format!("refundctl tenant {id}"));
        let session = self.simulation.session_of(&life);
        let mut stays = None;
        if is_named {
            // As `rotate-key --retire` does: another key is looked for, which must be there when this one is ended.
            let hashes = life.unless_ended(session.keys_of_tenant(&app(id))).await;
            let Some(Ok(hashes)) = hashes else { return };
            let others = (0..NAMES.len())
                .filter(|other| *other != number && hashes.iter().any(|hash| hash == key(*other).hash()));
            stays = rng.choice(others.collect::<Vec<_>>());
            if stays.is_none() {
                return;
            }
        }
        let change = |named: &[String]| {
            let mut ids: Vec<String> = named.iter().filter(|named| *named != id).cloned().collect();
            ids.extend((!is_named).then(|| id.to_owned()));
            ids.sort();
            ids
        };
        let (tenant, stays_hash) = (app(id), stays.map(|stays| key(stays).hash().to_owned()));
        let bound = stays_hash.as_deref().map(|hash| (&tenant, hash));
        let changing = session.change_shared_credential(&credential, change, app, bound);
        let told = life.unless_ended(changing).await;
        self.simulation.tell(|| format!("{id} has key {number} from now on is {}: {told:?}", !is_named));
        self.simulation.count_done("key given or ended");
        let was_ever = |is_so: &dyn Fn(&Items) -> bool| self.simulation.table.was_ever(&before, is_so);
        let is_so = match &told {
            Some(Ok(_)) => was_ever(&|items| has(items, id, number) != is_named),
            Some(Err(StoreError::Refused(_))) => {
                stays.is_some_and(|stays| was_ever(&|items| !has(items, id, stays)))
            }
            None | Some(Err(_)) => true,
        };
        if !is_so {
            self.simulation.breach(format!("key {number} of {id} was told {told:?}, and it is not so"));
        }
        let known = matches!(told, Some(Ok(_))).then_some(!is_named);
        self.named.lock().unwrap().insert(pair, known);
    }

    /// Changes a member of its own in settings that others change, too, as they were read.
    async fn change_settings(&self, own: usize, rng: &mut Rng) {
        self.check_settings();
        // An app has a member for two of them.
        let is_app = own < 2 && rng.bool();
        let tenant = if is_app { app(APPS[0]) } else { merchant(STALLS).tenant() };
        let before = self.simulation.table.moment();
        let life = Life::new("refundctl tenant disable".to_owned());
        let session = self.simulation.session_of(&life);
        let Some(Ok(Some(read))) = life.unless_ended(session.settings(&tenant)).await else { return };
        let mut settings: Value = serde_json::from_str(&read).expect("settings are JSON");
        if let Some(hashes) = settings.get_mut("keyHashes").and_then(Value::as_array_mut) {
            // As `rotate-key` does: the key names the merchant before it is one of his.
            let number = own_key(hashes, own);
            let next = own_credential(own, number.map_or(0, |number| number + 1));
            let named = life.unless_ended(session.create_credential(&next, &tenant)).await;
            let Some(Ok(Creation::Created | Creation::Existing(_))) = named else { return };
            hashes.retain(|hash| number.is_none_or(|number| hash != own_credential(own, number).hash()));
            hashes.push(json!(next.hash()));
        } else {
            settings[SWITCHES[own]] = json!(settings[SWITCHES[own]] == false);
        }
        let now = own_member(&settings, own);
        let settings = settings.to_string();
        // Somebody looks at them before he agrees.
        self.simulation.pause(rng.u64(0..40)).await;
        // Meanwhile it is the one or the other.
        let before_it = self.settings.lock().unwrap().insert((tenant.clone(), own), None).flatten();
        let told = life.unless_ended(session.change_settings(&tenant, &read, &settings)).await;
        self.simulation.tell(|| format!("{tenant} is {settings}: {told:?}"));
        self.simulation.count_done("settings changed");
        let was_ever = |is_so: &dyn Fn(&str) -> bool| {
            self.simulation
                .table
                .was_ever(&before, |items| is_so(settings_of(items, &tenant).unwrap_or_default()))
        };
        let was_in_force = was_ever(&|there| there == settings);
        let is_so = match &told {
            Some(Ok(true)) => was_in_force,
            Some(Ok(false)) => was_ever(&|there| there != read),
            None | Some(Err(StoreError::DeadlinePassed { .. })) => true,
            Some(Err(_)) => false,
        };
        if !is_so {
            self.simulation.breach(format!("{tenant} was told {told:?}, and it is not so: {settings}"));
        }
        let known = match told {
            Some(Ok(true)) => Some(now),
            Some(Ok(false)) if !was_in_force => before_it,
            _ => None,
        };
        self.settings.lock().unwrap().insert((tenant, own), known);
    }

    /// What an operator was told of his own member of settings is so, whatever others have changed since.
    fn check_settings(&self) {
        let items = self.simulation.table.items();
        for ((tenant, own), known) in &*self.settings.lock().unwrap() {
            let there = settings_of(&items, tenant).and_then(|text| serde_json::from_str::<Value>(text).ok());
            let there = there.map(|settings| own_member(&settings, *own));
            if known.is_some() && *known != there {
                self.simulation
                    .breach(format!("{tenant}: operator {own} has {there:?}, and was told {known:?}"));
            }
        }
    }

    /// Says all apps that a key names, as a file does.
    async fn put_all(&self, rng: &mut Rng) {
        let ids = APPS.iter().filter(|_| rng.bool()).map(|id| (*id).to_owned());
        let ids: Vec<String> = ids.collect();
        let replaces = rng.bool();
        let before = self.simulation.table.moment();
        let life = Life::new("refundctl import".to_owned());
        let session = self.simulation.session_of(&life);
        let credential = key(OF_FILES);
        let told = life.unless_ended(session.put_shared_credential(&credential, &ids, app, replaces)).await;
        self.simulation.tell(|| format!("the key of files names {ids:?}, replaced {replaces}: {told:?}"));
        self.simulation.count_done("key of a file");
        let was_ever = |is_so: &dyn Fn(Option<&[String]>) -> bool| {
            self.simulation.table.was_ever(&before, |items| is_so(names(items, OF_FILES)))
        };
        let is_so = match &told {
            Some(Ok(SettingsChange::Kept)) => {
                !replaces && was_ever(&|named| named.is_some_and(|named| named != ids))
            }
            Some(Ok(change)) => {
                let may_replace = replaces || *change != SettingsChange::Replaced;
                may_replace && was_ever(&|named| named == Some(&*ids))
            }
            None | Some(Err(StoreError::DeadlinePassed { .. })) => true,
            Some(Err(_)) => false,
        };
        if !is_so {
            self.simulation.breach(format!("the key of files was told {told:?}, and it is not so"));
        }
    }

    /// Lets a secret name a merchant, which no other may have then.
    async fn claim(&self, own: usize, number: u32) {
        let merchant = TenantKey::new("epay", &format!("{own}"));
        let life = Life::new("refundctl tenant add".to_owned());
        let session = self.simulation.session_of(&life);
        let credential = claimed(number);
        let told = life.unless_ended(session.create_credential(&credential, &merchant)).await;
        self.simulation.tell(|| format!("{merchant} claims secret {number}: {told:?}"));
        self.simulation.count_done("secret claimed");
        let owner = match told {
            Some(Ok(Creation::Created)) => merchant,
            Some(Ok(Creation::Existing(owner))) => owner,
            None | Some(Err(_)) => return,
        };
        let is_as_before = *self.owners.lock().unwrap().entry(number).or_insert(owner.clone()) == owner;
        if !is_as_before {
            self.simulation.breach(format!("secret {number} was told to be another one's before"));
        }
        self.check_owners();
    }

    /// Says an application, with an amount of its own: who comes first is on record, and who comes later is told so.
    async fn say_application(&self, own: usize, autoid: i64) {
        let amount = format!("{}", 2 + own % 2);
        let entry = json!({"kind": "application", "merchant": MERCHANT, "autoid": autoid, "amount": amount,
                           "orderNo": "order"});
        let event = entries_event(json!({ "entries": [entry] }).to_string().as_bytes()).to_string();
        let told = self.simulation.call("record-entries", event).await;
        self.simulation.tell(|| format!("says application {autoid} of {amount}: {told:?}"));
        let Some((status, answer)) = told else { return };
        let items = self.simulation.table.items();
        let on_record = paid(&items, autoid);
        let is_so = match (status, answer["entries"][0]["outcome"].as_str().unwrap_or_default()) {
            (503, "undecided") => return,
            (200, "recorded" | "unchanged") => {
                self.paid.lock().unwrap().insert(autoid, amount.clone());
                on_record.as_ref() == Some(&amount)
            }
            (200, "refused") => on_record.is_some_and(|paid| paid != amount),
            _ => false,
        };
        if !is_so {
            self.simulation.breach(format!("application {autoid} of {amount} was told {answer}"));
        }
    }

    /// What was told to be on record is so.
    fn check_paid(&self) {
        let items = self.simulation.table.items();
        for (autoid, told) in &*self.paid.lock().unwrap() {
            let found = paid(&items, *autoid);
            if found.as_ref() != Some(told) {
                self.simulation.breach(format!("application {autoid} was told to be of {told}: {found:?}"));
            }
        }
    }

    fn check_owners(&self) {
        let items = self.simulation.table.items();
        for (number, owner) in &*self.owners.lock().unwrap() {
            let found = content(&items, claimed(*number).as_str(), "CREDENTIAL");
            if !matches!(found, Some(Content::Credential { tenant }) if tenant == owner) {
                self.simulation.breach(format!("secret {number} is {owner}'s, and is {found:?}"));
            }
        }
    }
}

fn merchant(id: &str) -> MerchantId {
    id.parse().expect("a merchant's id")
}

/// What an operator has of settings: of a merchant's one of the keys, of an app's one of two switches.
fn own_member(settings: &Value, own: usize) -> Value {
    match settings["keyHashes"].as_array() {
        Some(hashes) => own_key(hashes, own).map_or(Value::Null, |number| json!(number)),
        None => settings[SWITCHES[own]].clone(),
    }
}

const SWITCHES: [&str; 2] = ["enabled", "requireSignature"];

/// Which of an operator's keys is in force, of as many as he has ever had.
fn own_key(hashes: &[Value], own: usize) -> Option<u32> {
    (0..KEYS_MAX).find(|number| hashes.iter().any(|hash| hash == own_credential(own, *number).hash()))
}

/// More than any operator makes.
const KEYS_MAX: u32 = 50;

fn own_credential(own: usize, number: u32) -> CredentialKey {
    CredentialKey::new("epay", &format!("operator-{own}-{number}"))
}

fn settings_of<'a>(items: &'a Items, tenant: &TenantKey) -> Option<&'a str> {
    match content(items, tenant.as_str(), "TENANT") {
        Some(Content::Tenant { settings, .. }) => Some(settings),
        _ => None,
    }
}

/// What is paid for an application, if it is on record.
fn paid(items: &Items, autoid: i64) -> Option<String> {
    match content(items, &merchant(MERCHANT).application(autoid).path(), "PAYMENT") {
        Some(Content::Application(application)) => Some(application.paid.to_string()),
        _ => None,
    }
}

fn claimed(number: u32) -> CredentialKey {
    CredentialKey::new("epay", &format!("claimed-{number}"))
}
