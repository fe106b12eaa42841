"""Bodies as they are sent, read again by libraries that the functions don't have."""

import json
import math
from decimal import Decimal, InvalidOperation
from urllib.parse import parse_qsl
from xml.etree import ElementTree

import bson
from bson import Decimal128, Int64
from bson.errors import BSONError

UNREADABLE = object()


def of(request):
    """What a request's body says, as JSON would; UNREADABLE if it is none."""
    content = request.body or b""
    content = content.encode() if isinstance(content, str) else content
    media_type = request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    try:
        if media_type.endswith("/xml"):
            return from_xml(content.decode())
        if media_type == "application/x-www-form-urlencoded":
            return from_pairs(parse_qsl(content.decode(), keep_blank_values=True))
        if media_type == "application/bson":
            return from_bson(content)
        return json.loads(content)
    except (ValueError, ElementTree.ParseError, BSONError):
        return UNREADABLE


def from_bson(content):
    return plain(bson.decode(content))


def plain(value):
    """A value of BSON as JSON has it; a list where JSON has nothing like it."""
    if isinstance(value, dict):
        return {name: plain(member) for name, member in value.items()}
    if isinstance(value, Decimal128):
        return number(str(value))
    if isinstance(value, Int64):
        return int(value)
    return value if value is None or isinstance(value, (bool, int, float, str)) else []


def to_bson(value):
    """What BSON has no place for becomes what is no BSON."""
    try:
        return bson.encode(writable(value))
    except (TypeError, ValueError, OverflowError, BSONError):
        return repr(value).encode(errors="replace")


def writable(value):
    """A number that has more digits than a double always carries as one that has all of them, or as its text."""
    if isinstance(value, dict):
        return {name: writable(member) for name, member in value.items()}
    if not isinstance(value, float) or not math.isfinite(value):
        return value
    _, digits, exponent = Decimal(repr(value)).as_tuple()
    if exponent < -28 or len(digits) + exponent > 28:
        return repr(value)
    return Decimal128(repr(value)) if len(digits) + max(exponent, 0) > 15 else value


def from_xml(text):
    members = list(ElementTree.fromstring(text))
    value = lambda member: [] if len(member) else member.text or ""
    return from_pairs((member.tag.rpartition("}")[2], value(member)) for member in members)


def result_from_xml(content):
    """EPay's result, with the one number that it has as a number."""
    nil = "{http://www.w3.org/2001/XMLSchema-instance}nil"
    members = {
        member.tag.rpartition("}")[2]: None if nil in member.attrib else member.text or ""
        for member in ElementTree.fromstring(content)
    }
    return {name: int(value) if name == "errcode" else value for name, value in members.items()}


def from_pairs(pairs):
    """A member that is named twice is none of any type."""
    members = {}
    for name, value in pairs:
        members[name] = [members[name], value] if name in members else value
    return members


def number(value):
    """A number's text as the number."""
    if not isinstance(value, str):
        return value
    try:
        exact = Decimal(value.strip())
    except InvalidOperation:
        return value
    if not exact.is_finite() or abs(exact.adjusted()) > 300:
        return value
    return int(exact) if exact == exact.to_integral_value() else float(exact)
