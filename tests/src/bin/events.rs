//! Writes the sample events anew, after a change of a route or a request:
//!
//! ```sh
//! cargo run --package tests --bin events
//! ```

use anyhow::Result;
use tests::events;

fn main() -> Result<()> {
    for (name, event) in events::all()? {
        let path = events::path(&name);
        std::fs::write(&path, event)?;
        println!("{}", path.display());
    }
    Ok(())
}
