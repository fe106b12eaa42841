//! EPay: what `BeginSingle` and `EndSingle` share. A ticketing back office (a merchant) marks an application for
//! a refund as being processed, and then as done, in whichever of four formats it speaks.

mod authenticate;
mod call;
pub mod codec;
mod members;
mod merchant;
mod refusal;
mod result;

pub use authenticate::Merchants;
pub use call::{Call, Endpoint, Report};
pub use members::{Expected, Members, Value};
pub use merchant::{InvalidMerchant, Merchant, MerchantId, MerchantSettings};
pub use refusal::{Errcode, Refusal};
pub use result::OperationResult;

/// The prefix of all keys of this provider.
pub const PROVIDER: &str = "epay";

/// The XML namespace of requests' root elements and members.
pub const PARAMETERS_NAMESPACE: &str =
    "http://schemas.datacontract.org/2004/07/DigitalScience.DataTransfer.Tour.V5.Parm";

/// The header that a merchant's key comes in.
pub const KEY_HEADER: &str = "x-api-key";
