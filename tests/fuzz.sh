#!/usr/bin/env bash
# Fuzzes the parsers and the handlers under libFuzzer: bytes that reach new code are kept and changed further. Needs
# nothing but Rust and a C++ compiler; the first build takes some minutes.
#
# usage: tests/fuzz.sh [--runs N] [--figures FILE] [TARGET...]
#        tests/fuzz.sh --minimise [TARGET...]
#        tests/fuzz.sh --list
#
#   --runs N         inputs for each target [default: 1000000]
#   --figures FILE   adds a line of JSON for each target
#   --minimise       instead, keeps in tests/fuzz/corpus what best reaches all that was reached until now
#   --list           instead, prints the targets; without TARGET, all of them are fuzzed
#
# What panics, hangs or takes too much memory is kept in tests/fuzz/found, which `cargo test` runs from then on; then
# the exit code is 1. What reaches new code is kept below target/fuzz, and is gone on with the next time.
set -euo pipefail
cd "$(dirname "$0")/.."

usage() {
  sed -n '2,/^set -/{/^#/s/^# \{0,1\}//p}' tests/fuzz.sh
}

runs=1000000
figures=/dev/null
mode=fuzz
targets=()
while [ $# -gt 0 ]; do
  case $1 in
    --runs) runs=${2:?--runs N} && shift ;;
    --figures) figures=$(realpath -m "${2:?--figures FILE}") && shift ;;
    --minimise) mode=minimise ;;
    --list) mode=list ;;
    --help | -h) usage && exit ;;
    -*) usage >&2 && exit 2 ;;
    *) targets+=("$1") ;;
  esac
  shift
done

# Longest input, in bytes: room for several calls, each of several items, and short enough to be changed often.
bytes_max=1024
# Most files that are kept of a target, and how long they may be, so that they stay a few.
kept_max=48
kept_bytes_max=1024
# Seconds that an input may take, and megabytes that the process may grow to.
seconds_max=10
megabytes_max=2048

# What is made now, whatever is there when it has run.
commit=$(git describe --always --dirty)
work=${CARGO_TARGET_DIR:-$PWD/target}/fuzz
host=$(rustc -vV | sed -n 's/^host: //p')
RUSTC_WRAPPER=$PWD/tests/fuzz/rustc.sh cargo build --locked --quiet --profile fuzz --target "$host" --target-dir "$work/build" \
  --package tests --features libfuzzer --bin fuzz
binary=$work/build/$host/fuzz/fuzz

known=$(sed -n '/pub const TARGETS/,/^];/s/^ *("\([a-z-]*\)".*/\1/p' tests/src/fuzz/mod.rs)
if [ "$mode" = list ]; then
  echo "$known"
  exit
fi
if [ ${#targets[@]} = 0 ]; then mapfile -t targets <<<"$known"; fi
for target in "${targets[@]}"; do
  if ! grep -qx -- "$target" <<<"$known"; then
    echo "tests/fuzz.sh: there is no target $target; --list prints them" >&2
    exit 2
  fi
done

export RUST_BACKTRACE=0 FUZZ_TARGET
unset AWS_PROFILE AWS_LAMBDA_LOG_LEVEL METRICS_NAMESPACE DYNAMODB_ENDPOINT || true

# Fuzzes a target, and prints its line of the table.
fuzz() {
  local began=$SECONDS status=0 log=$work/$1.log folder edges inputs corpus found
  FUZZ_TARGET=$1
  mkdir -p "$work/corpus/$1" "tests/fuzz/corpus/$1" "tests/fuzz/found/$1"
  found=$(find "tests/fuzz/found/$1" -type f | wc -l)
  # Long from the beginning: what a grammar makes calls of is used up soon.
  "$binary" -runs="$runs" -timeout="$seconds_max" -max_len="$bytes_max" -len_control=0 -rss_limit_mb="$megabytes_max" \
    -dict=tests/fuzz/words.dict -artifact_prefix="tests/fuzz/found/$1/" -print_final_stats=1 -report_slow_units=5 \
    "$work/corpus/$1" "tests/fuzz/corpus/$1" "tests/fuzz/found/$1" >"$log" 2>&1 || status=$?
  folder="tests/fuzz/found/$1"
  found=$(($(find "$folder" -type f | wc -l) - found))
  rmdir --ignore-fail-on-non-empty "$folder"
  edges=$(sed -n 's/.* cov: \([0-9]*\) .*/\1/p' "$log" | tail -n 1)
  inputs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
  corpus=$(find "$work/corpus/$1" -type f | wc -l)
  local seconds=$((SECONDS - began))
  printf '%-24s %9s %8s %9s %7s %7s %6s\n' "$1" "${inputs:-?}" "$seconds" "$((${inputs:-0} / (seconds > 0 ? seconds : 1)))" \
    "${edges:-?}" "$corpus" "$found"
  printf '{"target":"%s","inputs":%d,"seconds":%d,"edges":%d,"corpus":%d,"found":%d,"commit":"%s"}\n' \
    "$1" "${inputs:-0}" "$seconds" "${edges:-0}" "$corpus" "$found" "$commit" >>"$figures"
  if [ "$status" != 0 ]; then
    grep -v '^#' "$log" | tail -n 30
    return 1
  fi
}

# Keeps the files of a target that together reach the most code, the best ones first.
minimise() {
  FUZZ_TARGET=$1
  local kept="tests/fuzz/corpus/$1" merged=$work/merged/$1
  rm -rf "$merged"
  mkdir -p "$merged" "$work/corpus/$1" "$kept"
  "$binary" -set_cover_merge=1 -max_len="$kept_bytes_max" -timeout="$seconds_max" "$merged" "$work/corpus/$1" "$kept" \
    >"$work/$1.log" 2>&1
  rm -rf "$kept"
  mkdir "$kept"
  # Written in the order in which they were chosen.
  find "$merged" -type f -printf '%T@ %p\n' | sort | sed -n "1,${kept_max}p" | cut -d ' ' -f 2- | xargs -r cp --target-directory "$kept"
  echo "$1: $(find "$kept" -type f | wc -l) of $(find "$merged" -type f | wc -l)"
}

if [ "$mode" = minimise ]; then
  for target in "${targets[@]}"; do minimise "$target"; done
  exit
fi

printf '%-24s %9s %8s %9s %7s %7s %6s\n' target inputs seconds inputs/s edges corpus found
status=0
for target in "${targets[@]}"; do fuzz "$target" || status=1; done
exit "$status"
