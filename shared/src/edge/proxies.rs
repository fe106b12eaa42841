//! Who calls, where a CDN or other proxies stand before the gateway.

use std::net::{IpAddr, SocketAddr};
use std::sync::LazyLock;

use http::HeaderMap;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// The header in which the proxies prove that a request came through them.
pub const PROXY_KEY: &str = "x-proxy-key";

/// The proxies that stand before the gateway, one after another.
#[derive(Debug, Default)]
pub struct Proxies {
    /// How many; none is the default.
    count: usize,
    /// SHA-256 of the keys that prove it, in hexadecimal digits. Several while a key is changed for another.
    keys: Vec<String>,
}

/// As the function's environment says.
pub(super) static PROXIES: LazyLock<Proxies> = LazyLock::new(|| {
    let text = |name| std::env::var(name).unwrap_or_default();
    Proxies::new(&text("TRUSTED_PROXIES"), &text("PROXY_KEYS_SHA256"))
});

impl Proxies {
    /// From a number, and hashes with commas between. What can't be read as a number are more proxies than any request
    /// comes through: then nobody's address is known, and who may only call from some is refused.
    pub fn new(count: &str, keys: &str) -> Self {
        let count = if count.is_empty() { 0 } else { count.parse().unwrap_or(usize::MAX) };
        let keys = keys.split(',').map(|key| key.trim().to_ascii_lowercase()).filter(|key| !key.is_empty());
        Self { count, keys: keys.collect() }
    }

    /// The caller's address: what the outermost proxy says, and `peer` where there is none. None if the request did not
    /// come through all proxies: then whatever it says of its way may be made up.
    pub fn caller(&self, peer: Option<IpAddr>, headers: &HeaderMap) -> Option<IpAddr> {
        if self.count == 0 {
            return peer;
        }
        let key = headers.get(PROXY_KEY)?;
        let hash =
            Sha256::digest(key.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        if !self.keys.iter().any(|known| bool::from(known.as_bytes().ct_eq(hash.as_bytes()))) {
            return None;
        }
        // Each proxy adds who it was called by, at the end.
        let values = headers.get_all("x-forwarded-for").iter();
        let mut way: Vec<Option<IpAddr>> = Vec::new();
        for value in values {
            way.extend(value.to_str().unwrap_or_default().split(',').map(address));
        }
        // A gateway may add its own caller, or not.
        if peer.is_some() && way.last().is_some_and(|last| *last == peer) {
            way.pop();
        }
        way.len().checked_sub(self.count).and_then(|position| way.get(position).copied().flatten())
    }
}

/// An address, with or without a port. An IPv4 address that arrives as an IPv6 one is the IPv4 one.
pub(super) fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let with_port = || text.parse::<SocketAddr>().ok().map(|address| address.ip());
    text.parse::<IpAddr>().ok().or_else(with_port).map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_caller_is_who_the_outermost_proxy_names_if_the_request_proves_its_way() {
        // SHA-256 of "one" and "two".
        let keys = "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed, \
                    3FC4CCFE745870E2C0D99F71F30FF0656C8DEDD41CC1D7D3D376B0DBE685E2F3";
        let peer = "203.0.113.9";
        for (count, keys, key, forwarded, caller) in [
            // Without proxies nobody's word counts but the gateway's.
            ("", "", None, &[][..], Some(peer)),
            ("0", keys, Some("one"), &["198.51.100.1"][..], Some(peer)),
            // The gateway adds its caller, or doesn't.
            ("1", keys, Some("one"), &["198.51.100.1"], Some("198.51.100.1")),
            ("1", keys, Some("two"), &["198.51.100.1, 203.0.113.9"], Some("198.51.100.1")),
            ("1", keys, Some("one"), &["198.51.100.1", "203.0.113.9"], Some("198.51.100.1")),
            // What the caller has put before is not believed.
            ("1", keys, Some("one"), &["192.0.2.66, 198.51.100.1"], Some("198.51.100.1")),
            ("2", keys, Some("one"), &["192.0.2.66, 198.51.100.1:443,10.0.0.1"], Some("198.51.100.1")),
            ("1", keys, Some("one"), &["::ffff:198.51.100.1"], Some("198.51.100.1")),
            // Who comes by another way has no address.
            ("1", keys, None, &["198.51.100.1"], None),
            ("1", keys, Some("three"), &["198.51.100.1"], None),
            ("1", keys, Some("on"), &["198.51.100.1"], None),
            ("1", keys, Some("onf"), &["198.51.100.1"], None),
            ("1", keys, Some("One"), &["198.51.100.1"], None),
            ("1", keys, Some("one "), &["198.51.100.1"], None),
            ("1", keys, Some("one,two"), &["198.51.100.1"], None),
            // Who knows the hash, as the settings do, does not know the key.
            (
                "1",
                keys,
                Some("7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed"),
                &["198.51.100.1"],
                None,
            ),
            ("1", "", Some("one"), &["198.51.100.1"], None),
            ("1", "", Some(""), &["198.51.100.1"], None),
            ("1", keys, Some("one"), &[], None),
            ("1", keys, Some("one"), &["203.0.113.9"], None),
            ("1", keys, Some("one"), &["unknown"], None),
            ("2", keys, Some("one"), &["198.51.100.1"], None),
            ("many", keys, Some("one"), &["198.51.100.1"], None),
        ] {
            let mut headers = HeaderMap::new();
            for value in forwarded {
                headers.append("x-forwarded-for", value.parse().unwrap());
            }
            if let Some(key) = key {
                headers.insert(PROXY_KEY, key.parse().unwrap());
            }
            let found = Proxies::new(count, keys).caller(address(peer), &headers);
            assert_eq!(found, caller.and_then(address), "{count} {key:?} {forwarded:?}");
        }
    }
}
