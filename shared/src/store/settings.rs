//! Settings, cached in the process for a short while of wall-clock time.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use super::{Session, StoreError};
use crate::clock;
use crate::ledger::TenantKey;
use crate::limits;

/// Settings as a provider reads them (`T`), by what names them in a request (`K`).
#[derive(Debug)]
pub struct SettingsCache<K, T> {
    // A std mutex: it is held for a look-up, never across a call.
    cached: Mutex<HashMap<K, (SystemTime, Arc<T>)>>,
}

impl<K, T> Default for SettingsCache<K, T> {
    fn default() -> Self {
        Self { cached: Mutex::default() }
    }
}

impl<K: Clone + Eq + Hash, T> SettingsCache<K, T> {
    /// The settings under `key`, at most [`limits::SETTINGS_CACHED`] old; `read` where there are none so fresh.
    pub async fn get(
        &self,
        key: &K,
        read: impl Future<Output = Result<Option<T>, StoreError>>,
    ) -> Result<Option<Arc<T>>, StoreError> {
        if let Some(settings) = self.fresh(key) {
            return Ok(Some(settings));
        }
        let since = clock::now();
        let read = read.await?;
        let mut cached = self.cached.lock().unwrap_or_else(PoisonError::into_inner);
        // What is not there is not cached: a new tenant can call at once.
        let Some(settings) = read else {
            cached.remove(key);
            return Ok(None);
        };
        let settings = Arc::new(settings);
        if cached.len() >= limits::SETTINGS_CACHED_MAX {
            cached.clear();
        }
        cached.insert(key.clone(), (since, settings.clone()));
        Ok(Some(settings))
    }

    fn fresh(&self, key: &K) -> Option<Arc<T>> {
        let cached = self.cached.lock().unwrap_or_else(PoisonError::into_inner);
        let (since, settings) = cached.get(key)?;
        // A clock that was set back makes the age unknown: read again then.
        let age = clock::now().duration_since(*since).ok()?;
        (age < limits::SETTINGS_CACHED).then(|| settings.clone())
    }
}

impl Session {
    /// A tenant's settings as `parse` makes them of their JSON; none if there is no such tenant.
    pub async fn settings_as<T, E: ToString>(
        &self,
        tenant: &TenantKey,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Result<Option<T>, StoreError> {
        let Some(text) = self.settings(tenant).await? else { return Ok(None) };
        let damaged = |error: E| StoreError::Damaged { key: tenant.to_string(), what: error.to_string() };
        parse(&text).map(Some).map_err(damaged)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;

    use super::*;

    /// Makes what is cached so much older.
    fn age(cache: &SettingsCache<u8, u64>, by: Duration) {
        for (since, _) in cache.cached.lock().unwrap().values_mut() {
            *since -= by;
        }
    }

    #[tokio::test]
    async fn what_was_changed_is_known_within_30_seconds_and_a_new_tenant_at_once() {
        assert_eq!(limits::SETTINGS_CACHED, Duration::from_secs(30));
        let cache = SettingsCache::default();
        let version = AtomicU64::new(0);
        let get = async || {
            let read = async {
                let version = version.load(Ordering::SeqCst);
                Ok((version > 0).then_some(version))
            };
            cache.get(&1, read).await.unwrap().map(|version| *version)
        };
        assert_eq!(get().await, None);
        version.store(1, Ordering::SeqCst);
        assert_eq!(get().await, Some(1), "that there was none is not kept");
        version.store(2, Ordering::SeqCst);
        age(&cache, Duration::from_secs(29));
        assert_eq!(get().await, Some(1));
        age(&cache, Duration::from_secs(1));
        assert_eq!(get().await, Some(2));
    }
}
