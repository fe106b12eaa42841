//! The names of things: whose account, which debit, which request. Each name is a type of its own, so
//! that none can be passed for another.

use std::fmt;

use crate::limits;

/// Why a text can't be a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidText {
    #[error("is empty")]
    Empty,
    #[error("is longer than {} characters", limits::TEXT_CHARS_MAX)]
    TooLong,
    #[error("has a control character")]
    ControlCharacter,
}

fn checked_text(text: &str) -> Result<String, InvalidText> {
    if text.is_empty() {
        return Err(InvalidText::Empty);
    }
    if text.chars().count() > limits::TEXT_CHARS_MAX {
        return Err(InvalidText::TooLong);
    }
    if text.chars().any(char::is_control) {
        return Err(InvalidText::ControlCharacter);
    }
    Ok(text.to_owned())
}

/// A provider's own id, kept as the provider writes it.
macro_rules! text_name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::str::FromStr for $name {
            type Err = InvalidText;

            fn from_str(text: &str) -> Result<Self, InvalidText> {
                checked_text(text).map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

text_name! {
    /// The provider's id of one debit: eBET's `seqNo` of a bet.
    DebitId
}
text_name! {
    /// The game round a debit belongs to: eBET's `roundCode`.
    RoundCode
}

/// A key is a path of parts, joined by `#`. Parts that a caller gives are escaped, so that no caller can
/// write a path that leads into another tenant's.
macro_rules! path_name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// The path, escaped: unique for what it names, and what its hash chain is bound to.
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// A path as the ledger wrote it.
            pub fn recorded(path: &str) -> Self {
                Self(path.to_owned())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

path_name! {
    /// Who calls: `ebet#<channelId>`.
    TenantKey
}
path_name! {
    /// A balance: `ebet#<channelId>#<username>`.
    AccountKey
}
path_name! {
    /// The caller's number of a request, within its tenant and operation; what is executed under it is
    /// executed once: `ebet#<channelId>#request#<event>#<seqNo>`.
    RequestKey
}

impl RequestKey {
    /// The operation and the number, `<event>#<seqNo>`: what names the request within its tenant.
    pub fn within_tenant(&self) -> &str {
        let number = self.0.rfind('#').unwrap_or_default();
        let operation = self.0.get(..number).and_then(|path| path.rfind('#')).map_or(0, |before| before + 1);
        self.0.get(operation..).unwrap_or_default()
    }
}

impl TenantKey {
    /// `provider` is ours and needs no escaping; `id` is what the provider calls its tenant by.
    pub fn new(provider: &'static str, id: &str) -> Self {
        Self(format!("{provider}#{}", escaped(id)))
    }

    pub fn account(&self, holder: &str) -> AccountKey {
        AccountKey(format!("{}#{}", self.0, escaped(holder)))
    }

    pub fn request(&self, operation: &'static str, number: &str) -> RequestKey {
        RequestKey(format!("{}#request#{operation}#{}", self.0, escaped(number)))
    }
}

/// One debit of one account.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DebitKey {
    pub account: AccountKey,
    pub id: DebitId,
}

/// `#` separates parts of a key, and `%` starts an escape, so neither may stand in a part.
fn escaped(part: &str) -> String {
    part.replace('%', "%25").replace('#', "%23")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_name_is_neither_empty_nor_too_long_nor_has_control_characters() {
        for (text, refused) in [
            ("seqNoBetseqNoRefund".to_owned(), None),
            ("牌".repeat(128), None),
            ("牌".repeat(129), Some(InvalidText::TooLong)),
            (String::new(), Some(InvalidText::Empty)),
            ("a\nb".to_owned(), Some(InvalidText::ControlCharacter)),
            ("a\0".to_owned(), Some(InvalidText::ControlCharacter)),
        ] {
            assert_eq!(text.parse::<DebitId>().err(), refused, "{text:?}");
        }
    }

    #[test]
    fn a_request_is_named_within_its_tenant_by_operation_and_number() {
        for (tenant, number, name) in
            [("1", "r", "call#r"), ("request#1", "r#2", "call#r%232"), ("1", "", "call#")]
        {
            assert_eq!(TenantKey::new("ebet", tenant).request("call", number).within_tenant(), name);
        }
    }

    proptest! {
        #[test]
        fn different_holders_never_share_an_account(a in "[a-z#%0-9]{1,12}", b in "[a-z#%0-9]{1,12}", c in "[a-z#%0-9]{1,12}") {
            let path = |tenant: &str, holder: &str| TenantKey::new("ebet", tenant).account(holder);
            prop_assert_eq!(path(&a, &b) == path(&a, &c), b == c);
            prop_assert_eq!(path(&a, &c) == path(&b, &c), a == b);
            prop_assert_eq!(path(&a, &b).as_str().matches('#').count(), 2);
        }
    }
}
