//! What the tests share: a world with a fresh table, functions on it, a recording wire between them that
//! can fail on purpose, and a Lambda runtime interface for running the real binaries.

pub mod built;
pub mod case;
pub mod deployed;
pub mod documented;
pub mod embedded;
pub mod entries;
pub mod epay;
pub mod events;
pub mod faults;
pub mod fuzz;
pub mod lambda;
pub mod permissions;
pub mod pingpp;
pub mod planted;
pub mod redaction;
pub mod rie;
pub mod simulation;
pub mod stores;
pub mod whole;
pub mod wire;
pub mod world;
