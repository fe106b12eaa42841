//! What must not happen, whatever a caller sends to any endpoint. (`permissions` in `conformance` has what a function may
//! do at all; what stands in no log, each function's own tests of its binary.)

#[path = "security/answers.rs"]
mod answers;
#[path = "security/keys.rs"]
mod keys;
#[path = "security/scene.rs"]
mod scene;
#[path = "security/signatures.rs"]
mod signatures;
#[path = "security/sizes.rs"]
mod sizes;
#[path = "security/tenants.rs"]
mod tenants;
#[path = "security/timing.rs"]
mod timing;
