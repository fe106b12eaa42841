//! Conformance cases: data files that say what is in the table before, what is asked, what must be
//! answered to the digit, and what is in the table after. `tests/conformance/README.md` says how to read
//! and write them.

pub mod ebet;
pub mod epay;
pub mod pingpp;

use std::path::{Path, PathBuf};

use crate::deployed::DEPLOYED;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// A file: cases with a common start. Steps (`S`) and what is in the table after them (`A`) are each provider's own.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File<S, A: Default> {
    pub about: String,
    before: Vec<Value>,
    #[serde(bound(deserialize = "S: Deserialize<'de>, A: Deserialize<'de>"))]
    pub cases: Vec<Case<S, A>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case<S, A: Default> {
    pub name: String,
    /// What a gateway makes of the request before the function sees it: such a case is played without one only.
    #[serde(default)]
    direct: Option<String>,
    /// Import lines beside the file's.
    #[serde(default)]
    before: Vec<Value>,
    steps: Vec<S>,
    #[serde(default)]
    after: A,
}

impl<S, A: Default> File<S, A> {
    /// The cases that can be played here.
    pub fn playable(&self) -> impl Iterator<Item = &Case<S, A>> {
        self.cases.iter().filter(|case| {
            let is_changed = DEPLOYED.is_some() && case.direct.is_some();
            if is_changed {
                println!("left out: {}: {}", case.name, case.direct.as_deref().unwrap_or_default());
            }
            !is_changed
        })
    }

    /// What is in the table before a case.
    fn before(&self, case: &Case<S, A>) -> Vec<Value> {
        self.before.iter().chain(&case.before).cloned().collect()
    }
}

/// A member that may be null on purpose.
fn said<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<String>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

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
