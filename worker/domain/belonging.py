"""Whether an answer is about the return that was asked about, by the label codes that it names.

A late answer can meet the next question on the same connection, and a gateway can mix answers up. Where a status names
codes (Izipack's does), those of another return's creation show it. Codes that no creation brought show nothing: nothing
documents that a status repeats the creation's. They are kept as the packages' tracking numbers, and known from then on.
"""

from collections.abc import Mapping
from dataclasses import replace

from worker.domain.outcomes import Tracked
from worker.domain.returns import PackageInfo, ReturnOrder


def strange_codes(order: ReturnOrder, seen: Tracked) -> Mapping[int, str]:
    """The codes that the answer names and the return has not on record, by the place of their package in the answer."""
    own = {code for each in order.packages for code in (each.label_code, each.tracking_number) if code}
    if all(code in own for _, code in seen.codes):  # nearly always
        return {}
    folded = {_folded(code) for code in own}
    return {position: code for position, code in seen.codes if _folded(code) not in folded}


def packages_with(order: ReturnOrder, strange: Mapping[int, str]) -> tuple[PackageInfo, ...]:
    """The packages that get a strange code as their tracking number, by their place; where there is none, a new one."""
    known = {package.position: package for package in order.packages}
    return tuple(
        replace(known.get(position) or PackageInfo(position), tracking_number=code)
        for position, code in strange.items()
    )


def _folded(code: str) -> str:
    return "".join(code.split()).casefold()
