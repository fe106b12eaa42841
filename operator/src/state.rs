//! Where commands keep how far they have come, so that an interrupted one goes on: one file for each thing to do.

use std::fs;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::PathBuf;

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

/// The file for what is to be done: the same for the same command on the same table. Only its user can read it.
///
/// # Errors
/// If there is no place for it.
pub fn file(command: &str, what: &str) -> Result<PathBuf> {
    let folder = match std::env::var_os("XDG_STATE_HOME").filter(|path| !path.is_empty()) {
        Some(state) => PathBuf::from(state),
        None => std::env::home_dir()
            .context("there is no home folder to keep progress in: set XDG_STATE_HOME")?
            .join(".local/state"),
    };
    let folder = folder.join("refundctl");
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&folder)
        .and_then(|()| fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)))
        .with_context(|| format!("could not make {}: set XDG_STATE_HOME", folder.display()))?;
    let hash: String = Sha256::digest(what).iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    Ok(folder.join(format!("{command}-{hash}")))
}
