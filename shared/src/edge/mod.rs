//! Lambda and HTTP: what every function has in common before and after its own work.

mod event;
mod log;
mod proxies;
mod run;

pub use event::{MalformedEvent, Request, Response};
pub use log::{
    BROKEN, Items, RequestLine, Trouble, WorkLine, counted, hashed, init_logging, init_logging_to,
    log_request, log_work,
};
pub use proxies::{PROXY_KEY, Proxies};
pub use run::{Function, Invocation, invoke, run, serve, start};
