#!/usr/bin/env bash
# Cargo's RUSTC_WRAPPER for tests/fuzz.sh: our crates, and those that parse for them, tell libFuzzer which code an input
# reaches. What else there is (the SDK, the embedded store, the targets) is too much to
# look at, and not what is looked for; serde_json is in it, as most of what it parses is between the SDK and the store.
set -euo pipefail

rustc=$1
shift
crate='' is_target=false last=''
for argument in "$@"; do
  if [ "$last" = --crate-name ]; then crate=$argument; fi
  # What runs while the rest is built, proc macros and build scripts, is built without.
  if [ "$argument" = --target ]; then is_target=true; fi
  last=$argument
done

case $is_target:$crate in
  true:shared | true:refundctl | true:*_refund | true:*_refunds | true:refund_single_wallet | true:record_entries | \
    true:serde_path_to_error | true:quick_xml | true:bson | true:form_urlencoded | true:percent_encoding | \
    true:mediatype | true:rust_decimal | true:base64 | true:lambda_http | true:aws_lambda_events | true:http | true:ipnet | \
    true:pem_rfc7468 | true:der | true:spki | true:rsa)
    set -- "$@" -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
      -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
      -Cllvm-args=-sanitizer-coverage-trace-compares -Cllvm-args=-simplifycfg-branch-fold-threshold=0
    ;;
esac
exec "$rustc" "$@"
