//! refundctl: the local stack, and what operators do with the ledger.

pub mod agreement;
pub mod app;
pub mod application;
pub mod batch;
pub mod batch_list;
pub mod completions;
pub mod dead_letters;
pub mod functions;
pub mod import;
pub mod keygen;
pub mod local;
pub mod openapi;
pub mod reconcile;
pub mod refund;
pub mod report;
pub mod sample;
pub mod scan;
pub mod screen;
pub mod self_refund;
pub mod send;
pub mod show;
pub mod state;
pub mod target;
pub mod template;
pub mod tenant;
pub mod verify;
