//! Where commands keep how far they have come, so that an interrupted one goes on: one file for each thing to do.

use std::fs;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

use crate::screen::hex;

/// How long what nobody went on with is kept.
const KEPT: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// Removes what commands of this name have left, and nobody went on with.
fn remove_old(folder: &Path, command: &str) {
    let prefix = format!("{command}-");
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let is_its = entry.file_name().to_string_lossy().starts_with(&prefix);
        let modified = entry.metadata().and_then(|file| file.modified());
        let is_old = modified.is_ok_and(|at| at.elapsed().is_ok_and(|age| age > KEPT));
        if is_its && is_old {
            // One that stays does no harm.
            let _ = fs::remove_file(entry.path());
        }
    }
}

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
    remove_old(&folder, command);
    let hash = hex(&Sha256::digest(what));
    Ok(folder.join(format!("{command}-{}", hash.get(..16).unwrap_or(&hash))))
}
