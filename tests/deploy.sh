#!/usr/bin/env bash
# Builds the stack as it is deployed, and deploys it into an AWS emulator on this machine: dev and prod, calls of every
# endpoint through the API, a release over live data and back, and dev's end. Needs Rust and Python 3; installs the rest
# below target/ci. A quarter of an hour the first time, most of it building.
#
# usage: tests/deploy.sh          everything
#        tests/deploy.sh lint     the template alone
#        tests/deploy.sh stack    all but that
#        tests/deploy.sh tools    installs what is needed, and no more
set -euo pipefail
cd "$(dirname "$0")/.."

tools=$PWD/target/ci
built=${CARGO_TARGET_DIR:-$PWD/target}/debug
work=$(mktemp -d)
export SAM_CLI_TELEMETRY=0 AWS_EC2_METADATA_DISABLED=true AWS_CONFIG_FILE=/dev/null AWS_SHARED_CREDENTIALS_FILE=/dev/null
export AWS_REGION=us-east-1 AWS_DEFAULT_REGION=us-east-1
unset AWS_PROFILE AWS_SESSION_TOKEN DYNAMODB_ENDPOINT || true

step() {
  printf '\n-- %s (%s s since the start)\n' "$1" "$SECONDS"
}

fail() {
  echo "tests/deploy.sh: $1" >&2
  exit 1
}

# A virtual environment of its own for each: their dependencies contradict each other.
install() {
  local name=$1 requirements=$2
  if ! cmp -s "$requirements" "$tools/$name/installed"; then
    python3 -m venv --clear "$tools/$name"
    "$tools/$name/bin/pip" install --quiet --no-compile --disable-pip-version-check --requirement "$requirements"
    cp "$requirements" "$tools/$name/installed"
  fi
}

emulator=
finish() {
  if [ -n "$emulator" ]; then
    kill "$emulator" 2>/dev/null || true
    wait "$emulator" 2>/dev/null || true
  fi
  rm -rf "$work"
}
trap finish EXIT

step 'tools'
mkdir -p "$tools"
install python tests/deploy/sam.txt
install checkov tests/deploy/checkov.txt
install emulator tests/deploy/emulator.txt
export PATH=$tools/python/bin:$PATH
python=$tools/emulator/bin/python
if [ "${1:-}" = tools ]; then exit; fi

lint() {
  step 'template.yaml'
  sam validate --lint --template template.yaml
  cfn-lint template.yaml
  # With canary releases it has more resources, which may not wait for each other in a circle.
  mkdir "$work/canary"
  ln -s "$PWD/functions" "$work/canary/functions"
  sed '/^  CanaryReleases:/,/Description/ s/Default: "false"/Default: "true"/' template.yaml >"$work/canary/template.yaml"
  if cmp -s template.yaml "$work/canary/template.yaml"; then fail 'CanaryReleases was not found in template.yaml'; fi
  sam validate --lint --template "$work/canary/template.yaml"
  "$tools/checkov/bin/checkov" --config-file tests/deploy/checkov.yaml --file template.yaml
}
if [ "${1:-}" != stack ]; then lint; fi
if [ "${1:-}" = lint ]; then exit; fi

step 'refundctl and the tests'
cargo test --workspace --locked --no-run >"$work/build.log" 2>&1 || { cat "$work/build.log"; exit 1; }

step 'sam build, of every function'
# All at once, on all CPUs: sam builds one after another, and then finds them made.
packages=()
for function in functions/*/; do packages+=(--package "$(basename "$function")"); done
cargo lambda build --release --locked "${packages[@]}" >"$work/build.log" 2>&1 || { cat "$work/build.log"; exit 1; }
sam build --config-env dev >"$work/build.log" 2>&1 || { cat "$work/build.log"; exit 1; }
ls -l .aws-sam/build/*/bootstrap | awk '{ print $5, $9 }'

step 'each event of tests/events, under the runtime interface emulator'
"$built/cold-start" 1

step 'an AWS emulator, which checks permissions'
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
# `local` is the key with which refundctl and the tests sign where they are told an endpoint; it may do anything.
export AWS_ENDPOINT_URL=http://127.0.0.1:$port AWS_ACCESS_KEY_ID=local AWS_SECRET_ACCESS_KEY=local
mkdir "$work/tmp"
TMPDIR=$work/tmp STATE_DIR=$work/state S3_DATA_DIR=$work/s3 GATEWAY_PORT=$port BIND_HOST=127.0.0.1 AUTH=true COLD=1 \
  IOT_MTLS_ENABLED=0 SFTP_ENABLED=0 "$python" tests/deploy/emulator.py >"$work/emulator.log" 2>&1 &
emulator=$!
is_ready() {
  python3 -c "import urllib.request as url; url.urlopen('$AWS_ENDPOINT_URL/_ministack/ready')" 2>/dev/null
}
for _ in $(seq 100); do
  if is_ready; then break; fi
  kill -0 "$emulator" || { cat "$work/emulator.log"; exit 1; }
  sleep 0.1
done
is_ready || fail 'the emulator is not ready'
stack() {
  "$python" tests/deploy/stack.py "$@"
}

deploy() {
  local stage=$1
  shift
  sam deploy --config-file "$PWD/samconfig.toml" --config-env "$stage" --no-confirm-changeset --no-progressbar "$@" >"$work/deploy.log" 2>&1
}

step 'what must be refused'
if deploy dev --parameter-overrides Stage=dev TrustedProxies=1; then fail 'proxies were trusted without a key'; fi
grep -q 'anyone could say to come from anywhere' "$work/deploy.log" || { cat "$work/deploy.log"; exit 1; }
if deploy dev --parameter-overrides Stage=test; then fail 'a stage that is none was deployed'; fi
grep -q 'AllowedValues' "$work/deploy.log" || { cat "$work/deploy.log"; exit 1; }

step 'dev, behind a proxy'
export REFUNDS_PROXY_KEY=a-key-of-the-proxy-in-these-tests
sha256() {
  python3 -c 'import hashlib, sys; print(hashlib.sha256(sys.argv[1].encode()).hexdigest())' "$1"
}
proxy_hash=$(sha256 "$REFUNDS_PROXY_KEY")
overrides="Stage=dev TrustedProxies=1 ProxyKeysSha256=$proxy_hash"
deploy dev --parameter-overrides $overrides || { cat "$work/deploy.log"; exit 1; }
url=$(stack url refunds-dev)

# What a role may not do is refused here as it is by AWS: else what follows would prove nothing of permissions.
stack limits refunds-dev RefundSingleWallet 'ebet#1' 'epay#demo'
stack limits refunds-dev BeginSingleRefund 'epay#demo' 'epay#demo#1'
denied=$(grep -ac '^denied' "$work/emulator.log") || fail 'the emulator does not check permissions'

step 'the conformance cases, through the API'
export REFUNDS_URL=$url REFUNDS_SECRETS=$work/secrets TABLE_NAME=refunds-dev
# The cases say when batches settle.
stack triggers refunds-dev off
DYNAMODB_ENDPOINT=$AWS_ENDPOINT_URL cargo test --workspace --locked --test conformance -- --nocapture --test-threads=1
stack triggers refunds-dev on

step 'every endpoint by refundctl, on imported data; the worker and the bus'
table=(--endpoint "$AWS_ENDPOINT_URL" --table refunds-dev)
stack listen refunds-dev heard
"$built/refundctl" import "${table[@]}" operator/demo/data.jsonl --yes --reason 'deploy test'
call() {
  "$built/refundctl" send "$@" --endpoint "$url" >"$work/answer" 2>&1 || { cat "$work/answer"; fail "send $*"; }
}
call refund-single-wallet
call refund-single-wallet
call auto-batch-refund
call begin-single-refund
call begin-single-refund --format bson
call end-single-refund --format xml
call create-batch-refund
call list-batch-refunds
batch=$(grep -o '"id": "[0-9]*"' "$work/answer" | head -1 | tr -dc 0-9) || true
[ -n "$batch" ] || { cat "$work/answer"; fail 'the list has no batch'; }
call record-entries
stack heard heard 3
call retrieve-batch-refund "$batch"
grep -q '"status": "succeeded"' "$work/answer" || { cat "$work/answer"; fail 'the batch has not succeeded'; }
"$built/refundctl" show wallet "${table[@]}" 1 apitest01
"$built/refundctl" show batch "${table[@]}" batchrefund20160801001

step 'what operators do on a stage'
operate() {
  XDG_STATE_HOME=$work "$built/refundctl" "$@" --stage dev 2>"$work/told"
}
stack untold refunds-dev
operate dead-letters list | tee "$work/letters"
grep -q '^waiting  *1$' "$work/letters" || fail 'the dead letter is not listed'
# While the bus can't be reached the letter stays.
if AWS_ENDPOINT_URL_EVENTBRIDGE=http://127.0.0.1:1 operate dead-letters replay --yes --reason 'deploy test'; then
  fail 'told nobody'
fi
operate dead-letters replay --yes --reason 'deploy test' || { cat "$work/told"; fail 'the dead letter is not told'; }
stack heard heard 3
operate dead-letters replay --yes --reason 'deploy test'
operate verify || { cat "$work/told"; fail 'something is wrong with the table'; }
operate anchor "$work/heads"
operate report --by provider
operate tenant add merchant another --currency CNY --yes --reason 'deploy test' >"$work/key" || { cat "$work/told"; fail 'no merchant'; }
operate show tenant merchant another | tee "$work/merchant"
grep -q 'deploy test' "$work/merchant" || fail 'who did it, and why, is not on record'
operate verify --anchor "$work/heads"

step 'a release over live data'
stack dump refunds-dev >"$work/before"
[ -s "$work/before" ] || fail 'there is no data'
stack versions refunds-dev >"$work/versions-before"
# Other code: what a release changes is not this test's matter.
cp -r .aws-sam/build "$work/release"
for bootstrap in "$work"/release/*/bootstrap; do printf 'a release' >>"$bootstrap"; done
deploy dev --template-file "$work/release/template.yaml" --parameter-overrides $overrides || { cat "$work/deploy.log"; exit 1; }
stack versions refunds-dev >"$work/versions-after"
paste -d' ' "$work/versions-before" "$work/versions-after" |
  awk '{ print $1, "version", $2, "->", $5; if ($3 == $6 || $5 != $2 + 1) wrong = 1 } END { exit wrong || NR != 9 }' ||
  fail 'not every function has a new version'
stack dump refunds-dev >"$work/after"
cmp "$work/before" "$work/after" || fail 'the release has changed data'
call refund-single-wallet
stack dump refunds-dev | cmp - "$work/before" || fail 'a replay has changed data'

step 'and back'
stack back refunds-dev RefundSingleWallet
call refund-single-wallet
stack versions refunds-dev | grep '^RefundSingleWallet ' | cmp - <(grep '^RefundSingleWallet ' "$work/versions-before") ||
  fail 'the function has not gone back'

step 'a parameter that changes'
stack versions refunds-dev >"$work/versions-before"
deploy dev --template-file "$work/release/template.yaml" \
  --parameter-overrides "Stage=dev TrustedProxies=1 ProxyKeysSha256=$proxy_hash,$(sha256 new)" ||
  { cat "$work/deploy.log"; exit 1; }
stack versions refunds-dev >"$work/versions-after"
paste -d' ' "$work/versions-before" "$work/versions-after" |
  awk '{ if ($5 <= $2) wrong = 1 } END { exit wrong || NR != 9 }' ||
  fail 'the live functions do not know of the parameter'

step 'prod beside it'
# The emulator has no CodeDeploy.
deploy prod --parameter-overrides Stage=prod CanaryReleases=false || { cat "$work/deploy.log"; exit 1; }
"$built/refundctl" import --endpoint "$AWS_ENDPOINT_URL" --stage prod operator/demo/data.jsonl --yes --reason 'deploy test'
url=$(stack url refunds-prod)
call refund-single-wallet
if stack drop refunds-prod 2>"$work/refused"; then fail "prod's table could be deleted"; fi
grep -i 'protect' "$work/refused" || { cat "$work/refused"; exit 1; }

step "dev's end"
sam delete --stack-name refunds-dev --no-prompts >"$work/delete.log" 2>&1 || { cat "$work/delete.log"; exit 1; }
if stack url refunds-dev 2>"$work/refused"; then fail 'the stack is still there'; fi
grep 'does not exist' "$work/refused" || { cat "$work/refused"; exit 1; }
stack dump refunds-dev | cmp - "$work/after" || fail 'the ledger has gone with the stack'
call refund-single-wallet

step 'what stands in the logs'
grep -a '^denied' "$work/emulator.log" | tail -n "+$((denied + 1))" >"$work/denied"
if [ -s "$work/denied" ]; then cat "$work/denied"; fail 'a function did what it may not'; fi
stack logs "$work/logs"
stack secrets "$REFUNDS_SECRETS" "$work/logs"

step 'done'
