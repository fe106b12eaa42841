//! Tenants' settings, cached in the process for a short while of wall-clock time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use super::{Session, StoreError};
use crate::ledger::TenantKey;
use crate::limits;

/// The settings of tenants as a provider reads them (`T`).
#[derive(Debug)]
pub struct Tenants<T> {
    // A std mutex: it is held for a look-up, never across a call.
    cached: Mutex<HashMap<TenantKey, (SystemTime, Arc<T>)>>,
}

impl<T> Default for Tenants<T> {
    fn default() -> Self {
        Self { cached: Mutex::default() }
    }
}

impl<T> Tenants<T> {
    /// The tenant's settings, at most [`limits::SETTINGS_CACHED`] old; none if there is no such tenant.
    /// `read` makes them of their JSON.
    pub async fn get<E: ToString>(
        &self,
        session: &Session,
        tenant: &TenantKey,
        read: impl FnOnce(&str) -> Result<T, E>,
    ) -> Result<Option<Arc<T>>, StoreError> {
        if let Some(settings) = self.fresh(tenant) {
            return Ok(Some(settings));
        }
        // What is not there is not cached: a new tenant can call at once.
        let Some(text) = session.settings(tenant).await? else { return Ok(None) };
        let settings = Arc::new(
            read(&text)
                .map_err(|error| StoreError::Damaged { key: tenant.to_string(), what: error.to_string() })?,
        );
        let mut cached = self.cached.lock().unwrap_or_else(PoisonError::into_inner);
        if cached.len() >= limits::SETTINGS_CACHED_TENANTS_MAX {
            cached.clear();
        }
        cached.insert(tenant.clone(), (SystemTime::now(), settings.clone()));
        Ok(Some(settings))
    }

    fn fresh(&self, tenant: &TenantKey) -> Option<Arc<T>> {
        let cached = self.cached.lock().unwrap_or_else(PoisonError::into_inner);
        let (since, settings) = cached.get(tenant)?;
        // A clock that was set back makes the age unknown: read again then.
        let age = SystemTime::now().duration_since(*since).ok()?;
        (age < limits::SETTINGS_CACHED).then(|| settings.clone())
    }
}
