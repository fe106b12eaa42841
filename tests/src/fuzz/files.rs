//! What operators give to `refundctl`, or what waits in a queue for it: statements, anchors, dead letters.

use std::fmt::Write as _;
use std::io::{Seek as _, SeekFrom, Write as _};

use refundctl::dead_letters::Untold;
use refundctl::reconcile::statement::{Columns, Row, Statement};
use refundctl::screen::hex;
use refundctl::verify::anchor::Anchor;
use serde_json::json;
use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;

use super::taken;

const COLUMNS: Columns<'static> = Columns { id: "id", amount: "amount", status: None };

/// A statement is read whole, or what is wrong is told by its lines; what was read and is written is read the same.
pub fn statements(input: &[u8]) {
    let (is_minor, bytes) = match input {
        [b'1', bytes @ ..] => (true, bytes),
        bytes => (false, bytes),
    };
    match Statement::read(bytes, &COLUMNS, is_minor) {
        Ok(statement) => {
            taken();
            let lines = bytes.iter().filter(|byte| matches!(byte, b'\n' | b'\r')).count() + 1;
            assert!(statement.rows.len() < lines, "more rows than lines");
            let again = Statement::read(written(&statement).as_bytes(), &COLUMNS, false).unwrap();
            assert_eq!(again.has_states, statement.has_states);
            let said = |row: Row| (row.id, row.amount, row.state);
            assert!(again.rows.into_iter().map(said).eq(statement.rows.into_iter().map(said)));
        }
        Err(problems) => {
            assert!(!problems.is_empty(), "refused, and nothing is wrong");
            for problem in problems {
                assert!(problem.line > 0, "{problem:?}");
                assert!(!problem.what.chars().any(char::is_control), "{problem:?} rules a terminal");
            }
        }
    }
}

/// A statement as CSV, amounts as decimals.
fn written(statement: &Statement) -> String {
    let mut text = String::from(if statement.has_states { "id,amount,status\n" } else { "id,amount\n" });
    for Row { id, amount, state, .. } in &statement.rows {
        let _ = write!(text, "\"{}\",{amount}", id.replace('"', "\"\""));
        if let Some(state) = state {
            let _ = write!(text, ",{}", state.as_str());
        }
        text.push('\n');
    }
    text
}

thread_local! {
    static FILE: NamedTempFile = NamedTempFile::new().unwrap();
}

/// An anchor is as it was written, or it is refused. What begins with a byte from 0x80 gets the last line that it would
/// have been written with.
pub fn anchors(input: &[u8]) {
    let (is_sealed, lines) = match input {
        [first, lines @ ..] if *first >= 0x80 => (true, lines),
        lines => (false, lines),
    };
    let mut written = lines.to_vec();
    if is_sealed {
        written.retain(|byte| *byte != b'\r');
        if !written.ends_with(b"\n") {
            written.push(b'\n');
        }
        let hash = hex(&Sha256::digest(&written));
        let accounts = written.iter().filter(|byte| **byte == b'\n').count() - 1;
        written.extend(json!({"accounts": accounts, "sha256": hash}).to_string().bytes());
    }
    FILE.with(|file| {
        let mut open = file.as_file();
        open.set_len(0).unwrap();
        open.seek(SeekFrom::Start(0)).unwrap();
        open.write_all(&written).unwrap();
        let Ok(anchor) = Anchor::open(file.path()) else { return };
        taken();
        assert_eq!(anchor.sha256.len(), 64);
        let rows = anchor.rows().unwrap().filter(Result::is_ok).count();
        let lines = written.iter().filter(|byte| **byte == b'\n').count();
        assert!(rows < lines, "more accounts than lines");
    });
}

/// A message is of changes of one table between two moments, or of something else.
pub fn dead_letters(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    match Untold::read(text) {
        Ok(untold) => {
            taken();
            assert!(untold.first <= untold.last);
            assert!(text.contains(&untold.table) || text.contains('\\'), "of no table that is named");
        }
        Err(why) => assert!(!why.is_empty()),
    }
}
