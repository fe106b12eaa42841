//! refundctl as people use it: the real binary, on free ports, on the embedded store or on the DynamoDB that
//! `DYNAMODB_ENDPOINT` names; then one test at a time.

mod batch_list;
mod bodies;
mod clock;
mod entries;
mod epay;
mod local;
mod pingpp;
mod reconcile;
mod report;
mod screens;
mod stack;
mod tenant;
mod verify;
