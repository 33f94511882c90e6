"""Reads a shop's payload into a `ReturnRequest`, naming every problem by its path."""

import difflib
import json
import math
import re
import unicodedata
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import fields
from datetime import date
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from worker.domain.documents import read_json
from worker.domain.returns import Address, Parcel, Party, ReturnRequest

# All but the tab and the line breaks that people write. U+2028 and U+2029 are what one program takes for a line break
# and another one does not.
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_UNSEEN = ("Cc", "Cf", "Cs", "Mc", "Me", "Mn", "Zl", "Zp", "Zs")  # marks, too: with no letter below them
_BLANK = "\u115f\u1160\u2800\u3164\uffa0"  # fillers of Hangul, and Braille without a dot: no letters to the eye
# Three digits behind a point are thousands to one half of Europe and decimals to the other.
_NUMBER = re.compile(r"-?(?:[0-9]+(?:\.(?![0-9]{3}\Z)[0-9]+)?|\.[0-9]+)")
_PARTED = re.compile(r"-?[0-9]+(?:[ .,'\u00a0\u2019\u202f][0-9]+)+")

_CODES = """
AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS BT BV BW BY BZ CA CC
CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH ER ES ET FI FJ FK FM FO FR GA GB GD
GE GF GG GH GI GL GM GN GP GQ GR GS GT GU GW GY HK HM HN HR HT HU ID IE IL IM IN IO IQ IR IS IT JE JM JO JP KE KG KH
KI KM KN KP KR KW KY KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK ML MM MN MO MP MQ MR MS MT MU MV MW
MX MY MZ NA NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM PN PR PS PT PW PY QA RE RO RS RU RW SA SB SC
SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ TC TD TF TG TH TJ TK TL TM TN TO TR TT TV TW TZ UA UG UM US UY
UZ VA VC VE VG VI VN VU WF WS YE YT ZA ZM ZW
"""

COUNTRIES: Final = frozenset(_CODES.split())
"""As of ISO/TC 46 N1127 (2024-02-29); what is only reserved (EU, UK) or for users to assign (XK) is not among them."""

MEANT: Final[Mapping[str, str]] = {"UK": "GB", "EL": "GR"}
"""What the European Union writes for two countries, and ISO's code for them."""

MOST_PARTS: Final = 1000
"""Packages, and items, that are read: a hundred thousand would hold up everything else for seconds."""

COUNTRY: Final = "[A-Za-z]{2}"
"""What a country's code is written like."""

_MAX_DEPTH = 50  # of parts whose shape is the carrier's business
_MOST_UNKNOWN = 20  # unknown members that are named


class InvalidPayload(ValueError):
    """The payload breaks rules; `problems` holds a line `path: what is wrong` for each."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


def read_payload(text: str, default_receiver: Mapping[str, Any] | None = None) -> tuple[ReturnRequest, list[str]]:
    """The payload in `text` (JSON) as far as it can be read, and its problems.

    The carrier adds what it misses to the problems, so that the shop sees all of them at once.
    """
    try:
        data = read_json(text, _JSON)
    except ValueError:
        return ReturnRequest(), ["payload: is not JSON"]
    if not isinstance(data, dict):
        return ReturnRequest(), ["payload: must be a JSON object"]
    if default_receiver is not None and data.get("receiver") is None:
        data = {**data, "receiver": default_receiver}
    problems: list[str] = []
    root = _Object(data, "", problems)
    request = ReturnRequest(
        customer=_party(root.object("customer")),
        receiver=_party(root.object("receiver")),
        packages=tuple(_parcel(part) for part in root.objects("packages")),
        items=tuple(part.whole() for part in root.objects("items")),
        pickup_date=root.date("pickup_date"),
        description=root.text("description", lines=True),  # free text, which a form lets its customer wrap
        company_name=root.text("company_name"),
        attention_of=root.text("attention_of"),
        link_expires_in_days=root.integer("link_expires_in_days"),
        carrier_fields=extra.whole() if (extra := root.object("carrier_fields")) else {},
    )
    root.refuse_others()
    return request, problems


def receiver_problems(receiver: Mapping[str, Any]) -> list[str]:
    """What is wrong with an account's receiver in every payload that names none, a line `receiver.…: …` each."""
    return read_payload("{}", receiver)[1]


def read_parties(payload: Mapping[str, Any]) -> tuple[Party | None, Party | None]:
    """The customer and the receiver that a payload names, as far as they can be read."""
    root = _Object(payload, "", [])
    return _party(root.object("customer")), _party(root.object("receiver"))


def count_packages(text: str) -> int:
    """How many packages a payload that was accepted once has."""
    packages = read_json(text).get("packages")
    return len(packages) if isinstance(packages, list) else 0


def reference_problems(reference: str) -> list[str]:
    """What would keep a person, or a look-up at the carrier, from finding a return by its reference."""
    problems = []
    if reference != reference.strip():
        problems.append("reference: must not begin or end with white space")
    if not reference.isprintable():  # such as a zero-width space, which a carrier may trim like any other
        problems.append("reference: must not contain invisible characters")
    if "\ufffd" in reference:
        problems.append("reference: holds bytes that are not UTF-8")
    return problems


def read_text(value: Any, *, lines: bool = False) -> tuple[str, str | None]:
    """The text that `value` is, "" where nothing of it can be seen, and what is wrong with it.

    One line, unless it may have `lines`. A text that breaks a rule is given all the same: it may have been sent when
    there was no such rule, and what was sent is what a lost creation is looked for by.
    """
    if value is None:
        return "", None
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        return "", "must be text"
    text = str(value).strip()
    if "\ufffd" in text:
        return text, "holds bytes that are not UTF-8"
    if not lines and len(text.splitlines()) > 1:
        return text, "must be one line, without line breaks"
    if _CONTROL.search(text) or (not lines and "\t" in text):
        return text, "must not contain control characters"
    # What is invisible between letters stays: Persian names and many emoji are written with it.
    seen = any(unicodedata.category(char) not in _UNSEEN and char not in _BLANK for char in text)
    return text if seen else "", None


class UnclearNumber(ValueError):
    """A text that is one number to one reader and another number to the next."""


def read_number(value: Any) -> Decimal | None:
    """A JSON number, or digits with perhaps a minus and decimals behind a point as text; None for anything else.

    Raises `UnclearNumber` where a point, a comma, a space or an apostrophe may mark thousands, as in `5.000`.
    """
    if isinstance(value, str):
        value = value.strip()
        if not _NUMBER.fullmatch(value):
            if _PARTED.fullmatch(value):
                raise UnclearNumber("may mean thousands or decimals; write a number such as 5000 or 5.5")
            return None
    elif isinstance(value, bool) or not isinstance(value, (int, float, Decimal)):
        return None
    number = Decimal(str(value))
    if not number.is_finite() or number.copy_abs() >= 2**63:  # beyond what any carrier counts with
        return None
    return number or Decimal(0)  # not 0E+999999999, which has a billion digits as a whole number


def _decimal(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation:  # an exponent beyond any machine's
        return Decimal("NaN")


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


_JSON = json.JSONDecoder(parse_float=_decimal, parse_constant=_no_constant)


def _party(part: "_Object | None") -> Party | None:
    if part is None:
        return None
    address = part.object("address")
    party = Party(
        name=part.text("name"),
        email=part.text("email"),
        phone=part.text("phone"),
        address=_address(address) if address else Address(),
    )
    part.refuse_others()
    return party


def _address(part: "_Object") -> Address:
    values = {each.name: part.text(each.name) for each in fields(Address)}
    written = values["country"]
    country = written.upper()  # only then: a capital ß is SS, South Sudan
    if written and not re.fullmatch(COUNTRY, written):
        part.problem("country", "must be an ISO 3166-1 alpha-2 code such as NL")
    elif country in MEANT:
        part.problem("country", f"must be an ISO 3166-1 alpha-2 code: {MEANT[country]} is meant, not {country}")
    part.refuse_others()
    return Address(**{**values, "country": country})


def _parcel(part: "_Object") -> Parcel:
    parcel = Parcel(
        height=part.number("height"),
        width=part.number("width"),
        depth=part.number("depth"),
        weight=part.number("weight"),
        description=part.text("description", lines=True),
    )
    part.refuse_others()
    return parcel


class _Object:
    """A JSON object being read: hands out typed members and collects what is wrong with them."""

    def __init__(self, data: Mapping[str, Any], path: str, problems: list[str]) -> None:
        self._data = data
        self._path = path
        self._problems = problems
        self._known: set[str] = set()

    def problem(self, name: str, message: str) -> None:
        shown = "".join(char if char.isprintable() else "\ufffd" for char in name)
        self._problems.append(f"{self._path}{shown}: {message}")

    def text(self, name: str, *, lines: bool = False) -> str:
        text, problem = read_text(self._take(name), lines=lines)
        if problem is not None:
            self.problem(name, problem)
        return text

    def number(self, name: str) -> Decimal | None:
        value = self._take(name)
        if value is None or value == "":
            return None
        try:
            number = read_number(value)
        except UnclearNumber as error:
            self.problem(name, str(error))
            return None
        if number is None:
            self.problem(name, "must be a number")
        return number

    def integer(self, name: str) -> int | None:
        value = self.number(name)
        if value is None:
            return None
        if value != value.to_integral_value():
            self.problem(name, "must be a whole number")
            return None
        return int(value)

    def date(self, name: str) -> date | None:
        value = self._take(name)
        if value is None or value == "":
            return None
        if isinstance(value, str) and re.fullmatch(r"\d{4}-\d\d-\d\d", value, re.ASCII):
            with suppress(ValueError):
                return date.fromisoformat(value)
        self.problem(name, "must be a date such as 2026-06-04")
        return None

    def object(self, name: str) -> "_Object | None":
        value = self._take(name)
        if value is None:
            return None
        if not isinstance(value, Mapping):
            self.problem(name, "must be an object")
            return None
        return _Object(value, f"{self._path}{name}.", self._problems)

    def objects(self, name: str) -> list["_Object"]:
        value = self._take(name)
        if value is None:
            return []
        if not isinstance(value, list):
            self.problem(name, "must be a list")
            return []
        if len(value) > MOST_PARTS:
            self.problem(name, f"{len(value)} are too many: at most {MOST_PARTS} are read")
            return []
        parts = []
        for index, element in enumerate(value):
            place, is_object = f"{name}[{index}]", isinstance(element, Mapping)
            if not is_object:
                self.problem(place, "must be an object")
            # An empty one stands for what is none, so that the others keep their places.
            parts.append(_Object(element if is_object else {}, f"{self._path}{place}.", self._problems))
        return parts

    def whole(self) -> dict[str, Any]:
        """Everything in it, fit to be sent as JSON, for parts whose shape is the carrier's business."""
        return {self._sendable(name, name[:60]): self._sendable(value, name[:60]) for name, value in self._data.items()}

    def _sendable(self, value: Any, place: str, depth: int = 1) -> Any:
        if depth > _MAX_DEPTH:
            self.problem(place, "is nested too deeply")
            return None
        match value:
            case str() if _CONTROL.search(value):
                self.problem(place, "must not contain control characters")
            case Decimal():
                number = float(value)
                if math.isfinite(number):
                    return number
                self.problem(place, "must be a number that fits")
            case Mapping():
                return {
                    self._sendable(name, place, depth): self._sendable(member, f"{place}.{name[:60]}", depth + 1)
                    for name, member in value.items()
                }
            case list():
                return [self._sendable(part, f"{place}[{index}]", depth + 1) for index, part in enumerate(value)]
        return value

    def refuse_others(self) -> None:
        """Call after reading: a member that was not read is a typing error, which would be lost silently."""
        unknown = [name for name in self._data if name not in self._known]
        for name in unknown[:_MOST_UNKNOWN]:  # a hostile payload may have a million, and each comparison takes time
            near = difflib.get_close_matches(name[:60], self._known, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            self.problem(name[:60], f"is not known here{hint}")

    def _take(self, name: str) -> Any:
        self._known.add(name)
        return self._data.get(name)
