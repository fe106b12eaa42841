//! The functions as they are deployed.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use refundctl::template::Template;

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The function that is called `binary`, as `sam build` has left it.
///
/// # Errors
/// If it has not.
pub fn function(binary: &str) -> Result<PathBuf> {
    let functions = Template::built_in()?.functions;
    let (_, resource) = functions
        .iter()
        .find(|(name, _)| name == binary)
        .with_context(|| format!("template.yaml names no {binary}"))?;
    let bootstrap = workspace().join(".aws-sam/build").join(resource).join("bootstrap");
    let found = bootstrap.canonicalize();
    found.with_context(|| format!("{binary} is not built; run `sam build --config-env dev`"))
}

/// The empty function, if `cargo lambda build --release --package floor` has made it.
pub fn floor() -> Option<PathBuf> {
    workspace().join("target/lambda/floor/bootstrap").canonicalize().ok()
}
