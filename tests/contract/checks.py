"""What is checked beside what schemathesis checks by itself; and credentials for a part of the calls."""

import random
import zlib
from collections import Counter, defaultdict

import jsonschema_rs
import schemathesis

from . import bodies
from .providers import PROVIDERS

# Of a hundred calls so many have no credentials.
WITHOUT_CREDENTIALS = 20


class Contract:
    """The document, and what became of the calls."""

    def __init__(self, document, seed):
        self.seed = seed
        self.counts = defaultdict(Counter)
        operations = [operation for path in document["paths"].values() for operation in path.values()]
        self.examples = {
            operation["operationId"]: operation["requestBody"]["content"]["application/json"]["example"]
            for operation in operations
            if "requestBody" in operation
        }
        components = document["components"]
        self.validators = {
            name: jsonschema_rs.Draft202012Validator({"$ref": f"#/components/schemas/{name}", "components": components})
            for name in components["schemas"]
        }

    def prepare(self, case):
        """The same for the same case, however often it is called."""
        what = f"{self.seed}{case.operation.label}{case.body!r}{case.query!r}{case.path_parameters!r}"
        chance = random.Random(zlib.crc32(what.encode(errors="replace")))
        number, example = provider(case).number, self.examples.get(operation_id(case), {})
        # Most cases are made of the example, but its number is one request's.
        if isinstance(case.body, dict) and number in example and case.body.get(number) == example[number]:
            case.body = {**case.body, number: f"{chance.randrange(10**16)}"}
        provider(case).prepare(case, chance)
        if chance.randrange(100) >= WITHOUT_CREDENTIALS:
            provider(case).credentials(case)

    def is_valid(self, provider, body):
        return body is not bodies.UNREADABLE and self.validators[provider.schema].is_valid(body)

    def why_invalid(self, provider, body):
        if body is bodies.UNREADABLE:
            return "the body can't be read"
        error = next(iter(self.validators[provider.schema].iter_errors(body)))
        return f"{error.message} at {list(error.instance_path)}"

    def register(self):
        """Tells schemathesis of all this."""
        contract = self

        @schemathesis.hook
        def before_call(context, case, kwargs):
            contract.prepare(case)

        @schemathesis.hook
        def map_body(context, body):
            return whole(body)

        @schemathesis.serializer("application/bson")
        def to_bson(context, value):
            return bodies.to_bson(value)

        @schemathesis.deserializer("application/bson")
        def from_bson(context, response):
            return bodies.from_bson(response.content)

        @schemathesis.deserializer("application/xml", "text/xml")
        def from_xml(context, response):
            return bodies.result_from_xml(response.content)

        @schemathesis.check
        def contract_is_kept(context, response, case):
            if is_route(case):
                contract.check(provider(case), response, case)

    def check(self, provider, response, case):
        request, status = response.request, response.status_code
        body, told = provider.read(request), answer(response)
        count = self.counts[case.operation.label]
        is_authentic = provider.is_authentic(request, body)
        carried_out = provider.carried_out(status, body, told)
        count["calls"] += 1
        count["without credentials"] += not is_authentic
        count["carried out"] += carried_out is not None

        assert not provider.is_in_trouble(status, told), f"the answer tells of trouble: {told}"
        if not is_authentic:
            assert not provider.is_let_in(status, told), f"it was let in without credentials: {told}"
            assert carried_out is None, f"it was carried out without credentials: {told}"
        elif provider.schema and carried_out is not None:
            assert self.is_valid(provider, carried_out), (
                f"what the document forbids was carried out: {self.why_invalid(provider, carried_out)}"
            )
        elif provider.schema and self.is_valid(provider, body):
            count["valid, but refused"] += 1
            assert not provider.is_called_malformed(status, body, told), (
                f"what the document allows was called malformed: {told}: {body}"
            )
        elif not provider.schema and case.meta.generation.mode.is_positive:
            count["valid"] += 1
            assert not provider.is_called_malformed(status, body, told), (
                f"what the document allows was called malformed: {told}: {request.url}"
            )


def operation_id(case):
    return case.operation.definition.raw["operationId"]


def provider(case):
    return PROVIDERS[operation_id(case)]


def whole(value):
    """Whole numbers written as such: to a schema 1.0 is one, too."""
    if isinstance(value, dict):
        return {name: whole(member) for name, member in value.items()}
    if isinstance(value, list):
        return [whole(member) for member in value]
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 2**53 else value


def is_route(case):
    """Whether the call is one of the document's: schemathesis tries other methods, too."""
    return case.method.upper() == case.operation.method.upper()


def answer(response):
    media_type = response.headers["content-type"][0].partition(";")[0]
    if media_type == "application/bson":
        return bodies.from_bson(response.content)
    return bodies.result_from_xml(response.content) if media_type.endswith("/xml") else response.json()
