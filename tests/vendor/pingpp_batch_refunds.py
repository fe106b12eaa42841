"""The vendor's own Python SDK, unmodified, against the local stack.

    pip install --requirement tests/vendor/requirements.txt
    python tests/vendor/pingpp_batch_refunds.py target/debug/refundctl
"""

import json
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

import pingpp
from Crypto.PublicKey import RSA

APP, SECRET = "app_1Gqj58ynP0mHeX1q", "sk_test_ibbTe5jLGCi5rzfH4OqPW9KC"
SIGNED_APP, SIGNED_SECRET = "app_Signed0mHeX1q", "sk_test_SignedjLGCi5rzfH4OqPW9"
LIVE_SECRET = "sk_live_ibbTe5jLGCi5rzfH4OqPW9KC"
SETTLED_WITHIN_SECONDS = 20


class Stack:
    """`refundctl local` with an app that needs no signature, and one that does."""

    def __init__(self, refundctl, folder):
        self.refundctl, self.folder = refundctl, Path(folder)
        self.process = subprocess.Popen(
            [refundctl, "local", "--no-demo", "--port", "0", "--dynamodb-port", "0"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self.url = self.process.stdout.readline().removeprefix("listening on ").strip()
        self.dynamodb = self.process.stdout.readline().split()[2]
        own, self.others = RSA.generate(2048), RSA.generate(2048)
        self.key_file = self.write("own.pem", own.export_key().decode())
        self.others_key_file = self.write("others.pem", self.others.export_key().decode())
        public = own.public_key().export_key().decode()
        self.lines = [
            {"kind": "app", "app": APP, "livemode": False, "currency": "cny", "unsettledFunds": 10000},
            {"kind": "app", "app": APP, "livemode": True, "currency": "cny", "unsettledFunds": 10000},
            {"kind": "key", "secret": SECRET, "apps": [APP]},
            {"kind": "key", "secret": LIVE_SECRET, "apps": [APP]},
            {"kind": "app", "app": SIGNED_APP, "livemode": False, "currency": "cny", "unsettledFunds": 10000,
             "publicKey": public, "requireSignature": True},
            {"kind": "key", "secret": SIGNED_SECRET, "apps": [SIGNED_APP]},
        ]
        self.load()

    def write(self, name, text):
        path = self.folder / name
        path.write_text(text)
        return str(path)

    def load(self):
        lines = self.write("facts.jsonl", "\n".join(json.dumps(line) for line in self.lines))
        self.lines = []
        self.run("import", lines, "--yes", "--reason", "test")

    def run(self, *arguments):
        command = [self.refundctl, *arguments, "--endpoint", self.dynamodb]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    def charges(self, *charges, app=APP, channel="wx_pub"):
        self.lines = [
            {"kind": "charge", "app": app, "livemode": False, "id": charge, "amount": 1000, "currency": "cny",
             "channel": channel, "orderNo": f"order-{charge}", "transactionNo": "2004450349201512090096425284",
             "created": 1409634160, "timePaid": 1409634192}
            for charge in charges
        ]
        self.load()

    def stop(self):
        self.process.terminate()
        self.process.wait()


class BatchRefunds(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.stack = Stack(REFUNDCTL, cls.folder.name)
        pingpp.api_base = cls.stack.url

    @classmethod
    def tearDownClass(cls):
        cls.stack.stop()
        cls.folder.cleanup()

    def setUp(self):
        pingpp.api_key = SECRET
        self.sign_with(None)

    @staticmethod
    def sign_with(key_file):
        # The SDK keeps what it has read of a file.
        pingpp.private_key, pingpp.private_key_path = None, key_file

    def settled(self, batch):
        deadline = time.monotonic() + SETTLED_WITHIN_SECONDS
        while time.monotonic() < deadline:
            batch = pingpp.BatchRefund.retrieve(batch.id)
            if batch.status not in ("created", "pending"):
                return batch
            time.sleep(0.05)
        self.fail(f"not settled in {SETTLED_WITHIN_SECONDS} s: {batch}")

    def refusal(self, kind, status, call, **params):
        with self.assertRaises(kind) as raised:
            call(**params)
        self.assertIs(type(raised.exception), kind)
        self.assertEqual(raised.exception.http_status, status, raised.exception)
        return raised.exception

    def test_a_batch_is_created_settles_by_itself_and_is_retrieved(self):
        self.stack.charges("ch_GebHC888m5mPSmPCG48K4Gq9", "ch_LizXT0CabDSKOG8CuDKOm1eT")
        params = dict(
            app=APP,
            batch_no="sdk0001",
            description="批量退款 described.",
            charges=["ch_GebHC888m5mPSmPCG48K4Gq9", {"charge": "ch_LizXT0CabDSKOG8CuDKOm1eT", "amount": 10}],
            metadata={"custom_key": "custom_content"},
        )
        batch = pingpp.BatchRefund.create(**params)
        self.assertIsInstance(batch, pingpp.BatchRefund)
        self.assertEqual([charge.amount for charge in batch.charges], [1000, 10])
        self.assertEqual(pingpp.BatchRefund.create(**params).id, batch.id, "sent again")
        settled = self.settled(batch)
        self.assertEqual(settled.status, "succeeded")
        self.assertEqual(settled.description, "批量退款 described.")
        self.assertEqual(settled.metadata.custom_key, "custom_content")
        self.assertEqual(settled.refund_url, "")
        refunds = {refund.charge: refund for refund in settled.refunds.data}
        for charge in settled.charges:
            refund = refunds[charge.charge]
            self.assertEqual((charge.refund, charge.amount), (refund.id, refund.amount))
            self.assertTrue(refund.succeed)
            self.assertEqual(refund.order_no, refund.id.removeprefix("re_"))
            self.assertEqual(refund.charge_order_no, f"order-{charge.charge}")

    def test_batches_are_listed_page_by_page_the_latest_first(self):
        charges = [f"ch_list{number}" for number in range(5)]
        self.stack.charges(*charges)
        made = [
            pingpp.BatchRefund.create(app=APP, batch_no=f"list{number}", description="d", charges=[charge]).id
            for number, charge in enumerate(charges)
        ]
        listed = []
        for page in (1, 2, 3):
            part = pingpp.BatchRefund.list(app=APP, page=page, per_page=2)
            self.assertIsInstance(part.data[0], pingpp.BatchRefund)
            listed += [batch.id for batch in part.data]
        self.assertEqual(listed, sorted(listed, reverse=True))
        self.assertLessEqual(set(made), {batch.id for batch in pingpp.BatchRefund.list(app=APP, per_page=100).data})
        after = pingpp.BatchRefund.list(app=APP, limit=2, starting_after=listed[1])
        self.assertEqual([batch.id for batch in after.data], listed[2:4])
        none = pingpp.BatchRefund.list(app=APP, created={"lt": 1409634160})
        self.assertEqual((none.data, none.has_more), ([], False))

    def test_what_is_wrong_with_a_request_is_raised_as_the_sdk_types_it(self):
        self.stack.charges("ch_wrong1")
        invalid, create = pingpp.error.InvalidRequestError, pingpp.BatchRefund.create
        params = dict(app=APP, batch_no="wrong1", description="d", charges=["ch_wrong1"])
        for changes, param in [
            ({"batch_no": "ab"}, "batch_no"),
            ({"description": ""}, "description"),
            ({"app": "app_other"}, "app"),
            ({"charges": []}, "charges"),
            ({"charges": ["ch_wrong1", "ch_nobodys"]}, "charges[1]"),
            ({"charges": [{"charge": "ch_wrong1", "amount": 1001}]}, "charges[0].amount"),
            ({"metadata": {"nested": {"a": 1}}}, "metadata"),
        ]:
            raised = self.refusal(invalid, 400, create, **{**params, **changes})
            self.assertEqual(raised.param, param, raised)
        self.stack.charges(*[f"ch_dear{number}" for number in range(11)])
        dear = [f"ch_dear{number}" for number in range(11)]
        raised = self.refusal(invalid, 400, create, **{**params, "charges": dear})
        self.assertEqual(raised.json_body["error"]["code"], "insufficient_funds")
        raised = self.refusal(invalid, 404, lambda: pingpp.BatchRefund.retrieve("151608161453545122"))
        self.assertEqual(raised.param, "id")
        pingpp.api_key = LIVE_SECRET
        self.assertEqual(self.refusal(invalid, 400, create, **params).param, "charges[0]")

    def test_a_key_that_is_nobodys_is_an_authentication_error_that_does_not_show_it(self):
        pingpp.api_key = "sk_test_nobodysLGCi5rzfH4OqPW9"
        for call in (
            lambda: pingpp.BatchRefund.create(app=APP, batch_no="auth1", description="d", charges=["ch"]),
            lambda: pingpp.BatchRefund.retrieve("151608161453545122"),
            lambda: pingpp.BatchRefund.list(app=APP),
        ):
            raised = self.refusal(pingpp.error.AuthenticationError, 401, call)
            self.assertNotIn("nobodys", str(raised))

    def test_an_app_that_signs_is_believed_by_its_signature_alone(self):
        self.stack.charges("ch_signed1", app=SIGNED_APP)
        pingpp.api_key, unauthorized = SIGNED_SECRET, pingpp.error.AuthenticationError
        params = dict(app=SIGNED_APP, batch_no="signed1", description="签名 signed", charges=["ch_signed1"])
        self.refusal(unauthorized, 401, pingpp.BatchRefund.create, **params)
        self.sign_with(self.stack.others_key_file)
        self.refusal(unauthorized, 401, pingpp.BatchRefund.create, **params)
        self.sign_with(self.stack.key_file)
        batch = pingpp.BatchRefund.create(**params)
        self.assertEqual(self.settled(batch).status, "succeeded")
        listed = pingpp.BatchRefund.list(app=SIGNED_APP, page=1, per_page=5, created={"gt": 0})
        self.assertEqual([listed.id for listed in listed.data], [batch.id])

    def test_what_someone_must_confirm_shows_where_and_is_settled_by_an_operator(self):
        self.stack.charges("ch_alipay1", "ch_alipay2", channel="alipay")
        params = dict(app=APP, batch_no="alipay1", description="d", charges=["ch_alipay1", "ch_alipay2"])
        batch = pingpp.BatchRefund.create(**params)
        deadline = time.monotonic() + SETTLED_WITHIN_SECONDS
        while len(batch.refunds.data) < 2 and time.monotonic() < deadline:
            batch = pingpp.BatchRefund.retrieve(batch.id)
        self.assertEqual([refund.status for refund in batch.refunds.data], ["pending", "pending"])
        self.assertTrue(batch.refund_url.startswith("https://"), batch.refund_url)
        paid, refused = (charge.refund for charge in batch.charges)
        for command in ("settle", paid), ("fail", refused, "--code", "no_account", "--message", "No such account."):
            self.retried("refund", *command, "--yes", "--reason", "test")
        batch = pingpp.BatchRefund.retrieve(batch.id)
        self.assertEqual((batch.status, batch.refund_url), ("partially_succeeded", ""))
        failed = next(refund for refund in batch.refunds.data if refund.id == refused)
        self.assertEqual((failed.status, failed.succeed, failed.failure_code), ("failed", False, "no_account"))

    def retried(self, *arguments):
        """Runs a command until the worker has let go of the batch."""
        deadline = time.monotonic() + SETTLED_WITHIN_SECONDS
        while True:
            try:
                return self.stack.run(*arguments)
            except subprocess.CalledProcessError as error:
                if "another process is settling" not in error.stderr or time.monotonic() > deadline:
                    raise AssertionError(error.stderr) from error


if __name__ == "__main__":
    REFUNDCTL = sys.argv.pop(1)
    unittest.main(verbosity=2)
