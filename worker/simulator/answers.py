"""True answers in odd JSON, as libraries of other languages and hasty programs write it."""

from collections.abc import Mapping

from worker.simulator.changes import Change, by_word, in_objects

Object = dict[str, object]

_ZERO_WIDTH_SPACE = "\u200b"
_TO_FULL_WIDTH = {code: code + 0xFEE0 for code in range(0x21, 0x7F)}  # Unicode: Halfwidth and Fullwidth Forms


def _null_status(each: Object) -> Object:
    return {**each, "status": None} if "status" in each else each


def _no_status(each: Object) -> Object:
    return {name: value for name, value in each.items() if name != "status"}


def _object_lists(each: Object) -> Object:
    return {name: _numbered(value) for name, value in each.items()}


def _numbered(value: object) -> object:
    # PHP writes an array so whose keys do not begin at 0, and an empty one as a list all the same.
    return {str(number): item for number, item in enumerate(value, 1)} if value and isinstance(value, list) else value


def _bare_items(each: Object) -> Object:
    # XML knows no lists: what translates it cannot tell one element from a list of one.
    return {name: value[0] if isinstance(value, list) and len(value) == 1 else value for name, value in each.items()}


def _float_ids(each: Object) -> Object:
    return {name: float(value) if name == "id" and isinstance(value, int) else value for name, value in each.items()}


def _odd_spelling(each: Object) -> Object:
    word = each.get("status")
    if not isinstance(word, str):
        return each
    wide = word.translate(_TO_FULL_WIDTH)
    return {**each, "status": wide[:1] + _ZERO_WIDTH_SPACE + wide[1:]}


ANSWER_CHANGES: Mapping[str, Change[object]] = {
    "null-status": Change("each status is null", in_objects(_null_status)),
    "no-status": Change("there is no status", in_objects(_no_status)),
    "object-lists": Change('lists come as objects, {"1": {...}, "2": {...}}', in_objects(_object_lists)),
    "bare-items": Change("instead of a list of one comes the one itself", in_objects(_bare_items)),
    "float-ids": Change("ReturnPilot: ids come as 3.0", in_objects(_float_ids)),
    "odd-spelling": Change(
        "Izipack: the status word is in full-width letters, a zero-width space among them",
        in_objects(_odd_spelling),
    ),
}
"""What may become of the JSON of an answer, by name; the magic word is `sim:NAME`."""

ANSWER_WORDS = by_word(ANSWER_CHANGES, "sim:{}")
