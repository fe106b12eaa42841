//! Headers in which proxies tell who has called them: whoever calls may put anything before.

use std::net::IpAddr;

use axum::http::{HeaderMap, HeaderValue};
use refundctl::screen::hex;
use sha2::{Digest, Sha256};
use shared::edge::{PROXY_KEY, Proxies};

use super::taken;

const KEY: &str = "one";
const PEER: &str = "203.0.113.9";

fn headers<'a>(key: &[u8], forwarded: impl Iterator<Item = &'a [u8]>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    if let Ok(key) = HeaderValue::from_bytes(key) {
        headers.insert(PROXY_KEY, key);
    }
    for value in forwarded {
        if let Ok(value) = HeaderValue::from_bytes(value) {
            headers.append("x-forwarded-for", value);
        }
    }
    headers
}

/// The first line is how many proxies there are, the second the key, each further one a header of its own.
pub fn proxies(input: &[u8]) {
    let mut lines = input.split(|byte| *byte == b'\n');
    let count = String::from_utf8_lossy(lines.next().unwrap_or_default()).into_owned();
    let key = lines.next().unwrap_or_default();
    let forwarded: Vec<&[u8]> = lines.collect();
    let proxies = Proxies::new(&count, &hex(&Sha256::digest(KEY)));
    let peer: IpAddr = PEER.parse().unwrap();
    for peer in [None, Some(peer)] {
        let caller = proxies.caller(peer, &headers(key, forwarded.iter().copied()));
        let stand_there = !count.is_empty() && count.parse() != Ok(0usize);
        if !stand_there {
            assert_eq!(caller, peer, "without proxies nobody's word counts but the gateway's");
            continue;
        }
        let Some(caller) = caller else { continue };
        taken();
        assert_eq!(key, KEY.as_bytes(), "who does not prove its way has no address");
        // What was sent with the request stands before what the proxies add.
        let before = b"192.0.2.66, 198.51.100.1".as_slice();
        let with_more = headers(key, [before].into_iter().chain(forwarded.iter().copied()));
        assert_eq!(proxies.caller(peer, &with_more), Some(caller), "a caller chooses its address");
        let joined = forwarded.join(&b',');
        let mut apart = joined.split(|byte| *byte == b',');
        let is_named = apart.any(|part| {
            let text = String::from_utf8_lossy(part);
            let text = text.trim();
            let address = text.parse::<std::net::SocketAddr>().map(|address| address.ip()).ok();
            text.parse().ok().or(address).map(|address: IpAddr| address.to_canonical()) == Some(caller)
        });
        assert!(is_named, "{caller} stands in no header");
    }
}
