"""The local stack, with something to refund beside the demo data: schemathesis.toml names it."""

import json
import subprocess
import tempfile

PLAYER, BETS = "contract", range(1, 13)
MERCHANT, APPLICATIONS, BEGUN = "demo", range(101, 119), range(113, 119)
APP, CHARGES = "app_abcdefghweqzadfs", range(1, 13)


class Stack:
    def __init__(self, refundctl):
        self.refundctl = refundctl
        self.process = subprocess.Popen(
            [refundctl, "local", "--port", "0", "--dynamodb-port", "0"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self.url = self.process.stdout.readline().removeprefix("listening on ").strip()
        self.dynamodb = self.process.stdout.readline().split()[2]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()

    def fill(self):
        with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as lines:
            lines.writelines(json.dumps(fact) + "\n" for fact in facts())
            lines.flush()
            self.run("import", lines.name, "--yes", "--reason", "contract test").check_returncode()
        for number in BEGUN:
            self.run("send", "begin-single-refund", "--autoid", str(number), "--batch-no", f"begun-{number}",
                     endpoint=self.url).check_returncode()

    def run(self, *arguments, endpoint=None):
        command = [self.refundctl, *arguments, "--endpoint", endpoint or self.dynamodb]
        return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def facts():
    yield {"kind": "wallet", "channelId": 1, "username": PLAYER, "balance": "0"}
    for number in BETS:
        yield {"kind": "debit", "channelId": 1, "username": PLAYER, "seqNo": f"bet-{number}",
               "roundCode": "R1", "amount": "10"}
    for number in APPLICATIONS:
        yield {"kind": "application", "merchant": MERCHANT, "autoid": number, "amount": "2.00",
               "orderNo": f"order-{number}"}
    for number in CHARGES:
        yield {"kind": "charge", "app": APP, "livemode": False, "id": f"ch_{number}", "amount": 1000,
               "currency": "cny", "channel": "wx_pub", "orderNo": f"order-{number}",
               "transactionNo": f"transaction-{number}", "created": 1409634160, "timePaid": 1409634192}
