"""What requests and answers mean, provider by provider, by the words of docs/."""

import base64
import json
import re
from pathlib import Path

from Crypto.Hash import MD5
from Crypto.PublicKey import RSA
from Crypto.Signature import pkcs1_15

from . import bodies
from .stack import APP, PLAYER

SOURCES = Path(__file__).parents[2]


class Provider:
    """`schema` is the name of what an operation takes, if that is a body."""

    # The member with the caller's own number of the request, which is good once.
    number = None
    # HTTP statuses of a request without credentials.
    unauthorized = ()

    def __init__(self, schema=None):
        self.schema = schema

    def prepare(self, case, chance):
        """Makes of a case what can be told more of."""

    def credentials(self, case):
        """Gives a call what it is believed by."""

    def is_authentic(self, request, body):
        return True

    def read(self, request):
        """The body as the schema has it."""
        return bodies.of(request)

    def is_let_in(self, status, told):
        """Whether the answer is one for callers that are believed."""
        return status not in self.unauthorized

    def is_in_trouble(self, status, told):
        return status >= 500

    def carried_out(self, status, body, told):
        """What of the request was carried out, as a request of its own; None if nothing was."""
        return body if status == 200 else None

    def is_called_malformed(self, status, body, told):
        """Whether the answer says that the request is not as the document wants it."""
        raise NotImplementedError


class Ebet(Provider):
    number = "seqNo"
    KEY = pkcs1_15.new(RSA.import_key((SOURCES / "operator/demo/private-key.pem").read_text()))
    NO_SEQ_NO, SYSTEM_ERROR, BUSY, BAD_PARAMETERS, BAD_SIGNATURE, WRONG_TYPE = 206, 500, 4003, 4025, 4026, 4030

    def __init__(self, schema, items, bet, signer, money):
        super().__init__(schema)
        self.items, self.bet, self.signer = items, bet, signer
        self.good_item = {bet: "bet", "username": PLAYER, "refundMoney": money}
        self.executed = set()

    def signature(self, body):
        signer, timestamp = body.get(self.signer), body.get("timestamp")
        signer = "" if signer is None else signer if isinstance(signer, str) else json.dumps(signer)
        text = signer + json.dumps(timestamp)
        return base64.b64encode(self.KEY.sign(MD5.new(text.encode()))).decode()

    def credentials(self, case):
        if isinstance(case.body, dict) and isinstance(case.body.get("signature"), str):
            case.body = {**case.body, "signature": self.signature(case.body)}

    def is_authentic(self, request, body):
        return isinstance(body, dict) and body.get("signature") == self.signature(body)

    def is_let_in(self, status, told):
        # Without a good signature it ends before all others.
        return told["status"] not in (self.BAD_PARAMETERS, self.WRONG_TYPE, self.BAD_SIGNATURE, 202)

    def is_in_trouble(self, status, told):
        return status >= 500 or told["status"] in (self.SYSTEM_ERROR, self.BUSY)

    def refunded(self, told):
        """The bets that an answer says are refunded."""
        groups = told.get("refundResultList", [])
        results = [result for group in groups for result in group["sucRefundSeqNoList"]] + told.get("resultList", [])
        return {result["refundSeqNo"] for result in results if result["status"] in (200, 209)}

    def carried_out(self, status, body, told):
        refunded = self.refunded(told)
        if told["status"] != 200 and not refunded:
            return None
        if not isinstance(body, dict):
            return body
        self.executed.add(body.get("seqNo"))
        # What is wrong with an item refuses this item alone.
        items = [item for item in body.get(self.items) or [] if item.get(self.bet) in refunded]
        return {**body, self.items: items or [self.good_item]}

    def is_called_malformed(self, status, body, told):
        if told["status"] == self.BAD_PARAMETERS:
            # Of an item that the single call names, or another request's number.
            is_judged = "resultList" in told or body["seqNo"] in self.executed
            return not is_judged and is_exact(body.get("refundThreshold"))
        return told["status"] in (self.WRONG_TYPE, self.NO_SEQ_NO)


def is_exact(number):
    """Whether the ledger's decimals hold a number, which no schema can say."""
    digits = re.fullmatch(r"-?(\d+)(?:\.(\d+))?", str(number or 0))
    return digits is not None and len(digits[1]) <= 28 and len(digits[2] or "") <= 28


class Epay(Provider):
    number = "batch_no"
    KEY = "demo-key-for-this-machine-only"
    ANSWERS = ("application/json", "text/json", "application/xml", "text/xml", "application/bson", "image/png")
    NUMBERS = ("autoid", "refundamount", "refundmoney")
    unauthorized = (401,)

    def prepare(self, case, chance):
        case.headers = {**(case.headers or {}), "Accept": chance.choice(self.ANSWERS)}

    def credentials(self, case):
        case.headers = {**(case.headers or {}), "x-api-key": self.KEY}

    def is_authentic(self, request, body):
        return request.headers.get("x-api-key") == self.KEY

    def read(self, request):
        body = bodies.of(request)
        if not isinstance(body, dict):
            return body
        # A number's text is as good as the number.
        return {name: bodies.number(value) if name in self.NUMBERS else value for name, value in body.items()}

    def is_in_trouble(self, status, told):
        return status >= 500 or told.get("errcode", 0) >= 500

    def carried_out(self, status, body, told):
        return body if told.get("errcode") == 0 else None

    def is_called_malformed(self, status, body, told):
        # What is left of numbers' texts has more digits than any number.
        is_judged = not any(isinstance(body.get(name), str) for name in self.NUMBERS)
        return status in (400, 415) or (is_judged and 100 <= told["errcode"] <= 112)


class Pingpp(Provider):
    number = "batch_no"
    KEY = "sk_test_ibbTe5jLGCi5rzfH4OqPW9KC"
    BASIC = "Basic " + base64.b64encode(f"{KEY}:".encode()).decode()
    BEARER = "Bearer " + KEY
    unauthorized = (401,)
    # What is not so by the ledger, or can't be said in a schema.
    OTHERWISE_REFUSED = re.compile(
        "not this app's|was used for another|do not hold|in another currency|No such charge|is named twice|is not paid"
        "|left to be refunded|can't be chosen|takes at most|metadata is too long|A page begins at one place"
    )

    def credentials(self, case):
        # SDKs are of two kinds.
        value = self.BASIC if len(str(case.body)) % 2 else self.BEARER
        case.headers = {**(case.headers or {}), "Authorization": value}

    def is_authentic(self, request, body):
        return request.headers.get("Authorization") in (self.BASIC, self.BEARER)

    def is_called_malformed(self, status, body, told):
        return status == 400 and not self.OTHERWISE_REFUSED.search(told["error"]["message"])


class Entries(Provider):
    def carried_out(self, status, body, told):
        outcomes = told.get("entries", [])
        is_recorded = [outcome["outcome"] in ("recorded", "unchanged") for outcome in outcomes]
        if not any(is_recorded):
            return None
        entries = [entry for entry, recorded in zip(body["entries"], is_recorded) if recorded]
        return {**body, "entries": entries}

    def is_called_malformed(self, status, body, told):
        if status != 200:
            return True
        refused = zip(body["entries"], told["entries"])
        # That no more was refunded than charged can't be said in a schema.
        return any(
            outcome.get("reason") == "bad_entry" and not entry.get("amountRefunded") for entry, outcome in refused
        )


PROVIDERS = {
    "refundSingleWallet": Ebet("RefundSingleWallet", "refundList", "refundSeqNo", "username", -10),
    "autoBatchRefund": Ebet("AutoBatchRefund", "batchRefundList", "seqNo", "channelId", 10),
    "BeginSingle": Epay("BeginSingle"),
    "EndSingle": Epay("EndSingle"),
    "CreateBatchRefund": Pingpp("CreateBatchRefund"),
    "RetrieveBatchRefund": Pingpp(),
    "ListBatchRefunds": Pingpp(),
    "recordEntries": Entries("RecordEntries"),
}
