#!/usr/bin/env python3
"""Every route against the OpenAPI document that `refundctl openapi` writes: schemathesis plays on the local stack what
the document allows and what it forbids, with credentials and without.

    pip install --requirement tests/contract/requirements.txt
    python tests/contract.py target/debug/refundctl [--max-examples N] [--seed S]
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import schemathesis.cli

from contract.checks import Contract
from contract.stack import Stack

FOLDER = Path(__file__).parent / "contract"
COLUMNS = ("calls", "without credentials", "carried out", "valid, but refused")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("refundctl", help="path of the binary")
    parser.add_argument("--max-examples", type=int, default=40, help="of each route and phase")
    parser.add_argument("--seed", type=int, default=20261128, help="another seed gives other examples")
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    began = time.monotonic()
    text = subprocess.run([options.refundctl, "openapi"], check=True, capture_output=True, text=True).stdout
    document = json.loads(text)
    contract = Contract(document, options.seed)
    contract.register()
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file, Stack(options.refundctl) as stack:
        file.write(text)
        file.flush()
        stack.fill()
        is_kept = play(file.name, stack.url, options)
        verified = stack.run("verify")
    never = shown(contract, document)
    print(f"\nrefundctl verify: {verified.stdout}\ntook {time.monotonic() - began:.0f} s")
    if never:
        sys.exit(f"failed: nothing was carried out of {', '.join(never)}")
    if not is_kept or verified.returncode:
        sys.exit("failed: see above")


def play(document, url, options):
    """Runs schemathesis; whether all is as it should be."""
    arguments = ["--config-file", str(FOLDER / "schemathesis.toml"), "run", document, "--url", url]
    arguments += ["--max-examples", str(options.max_examples), "--seed", str(options.seed)]
    try:
        return not schemathesis.cli.schemathesis.main(arguments, standalone_mode=False)
    except SystemExit as exit:
        return not exit.code


def shown(contract, document):
    """Prints what became of the calls; the operations of which none was carried out."""
    labels = [f"{method.upper()} {path}" for path, methods in document["paths"].items() for method in methods]
    print(f"\n{'':62}" + "".join(f"{column:>20}" for column in COLUMNS))
    for label in labels:
        print(f"{label:62}" + "".join(f"{contract.counts[label][column]:20}" for column in COLUMNS))
    return [label for label in labels if not contract.counts[label]["carried out"]]


if __name__ == "__main__":
    main()
