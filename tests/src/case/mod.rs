//! Conformance cases: data files that say what is in the table before, what is asked, what must be
//! answered to the digit, and what is in the table after. `tests/conformance/README.md` says how to read
//! and write them.

pub mod ebet;
pub mod epay;
pub mod pingpp;

use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

/// All files of a function's folder in `tests/conformance`.
pub fn files<F: DeserializeOwned>(function: &str) -> Vec<(PathBuf, F)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("conformance").join(function);
    let mut paths: Vec<PathBuf> = std::fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .collect();
    paths.sort();
    let read = |path: PathBuf| {
        let text = std::fs::read_to_string(&path).unwrap();
        let file = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        (path, file)
    };
    paths.into_iter().map(read).collect()
}
