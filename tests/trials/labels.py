#!/usr/bin/env python3
"""Shows what the check of labels says of real files, beside what two readers of PDFs say.

`.venv/bin/python tests/trials/labels.py FOLDER...` checks every PDF, PNG and ZPL file of less than 2 MB below the
folders, one after the other as a worker would, and asks Debian's `poppler-utils` (pdfinfo) and `qpdf` about each PDF.
`--all` names every refused file. `--converted` sends every PDF that is a label through what converts text, and says
which are refused then, and whether the others still print the same first page.
"""

import asyncio
import re
import resource
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from worker.labels import NotALabel, verify, verify_label  # noqa: E402

KINDS = {".pdf": "application/pdf", ".png": "image/png", ".zpl": "application/zpl"}
LARGEST = 2_000_000
READERS = {"pdfinfo": ("pdfinfo",), "qpdf": ("qpdf", "--check")}
PATIENCE = 30  # seconds for a reader; one that takes longer has not accepted
CONVERTED: dict[str, Callable[[bytes], bytes]] = {
    "bytes that are no UTF-8 replaced": lambda content: content.decode("utf-8", "replace").encode(),
    "line feeds to CR and LF": lambda content: content.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"),
}


class Checked(NamedTuple):
    """One file: `reason` is empty when it is a label, `seconds` is how long the check took."""

    folder: Path
    file: Path
    reason: str
    seconds: float

    @property
    def name(self) -> str:
        return f"{self.folder.name}/{self.file.relative_to(self.folder)}"


async def main(folders: list[Path], name_all: bool, convert: bool) -> None:
    """Everything from the folders to the table."""
    results = [
        await _checked(folder, file)
        for folder in folders
        for file in sorted(folder.rglob("*"))
        if file.suffix.lower() in KINDS and file.is_file() and file.stat().st_size < LARGEST
    ]
    verify._children.close()
    # Nothing else was a child until here. In kB on Linux.
    memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1000
    readers = {each.file: _readers(each.file) for each in results if each.file.suffix.lower() == ".pdf"}

    print("| folder | files | labels | refused | a label, and so both readers | refused, and so both readers "
          "| refused, but both readers accept | a label, but both readers refuse |")  # fmt: skip
    print("|---|---|---|---|---|---|---|---|")
    for folder in folders:
        here = [each for each in results if each.folder == folder]
        seen: Counter[tuple[bool, int]] = Counter(
            (not each.reason, sum(readers[each.file])) for each in here if each.file in readers
        )
        refused = sum(bool(each.reason) for each in here)
        cells = (len(here), len(here) - refused, refused, seen[True, 2], seen[False, 0], seen[False, 2], seen[True, 0])
        print(f"| {folder.name} | {' | '.join(map(str, cells))} |")

    reasons = defaultdict(list)
    for each in results:
        if each.reason:
            reasons[re.sub(r"\d[\d.]*", "N", each.reason)].append(each)
    print("\n| files | refused because | of these both readers accept |\n|---|---|---|")
    for reason, files in sorted(reasons.items(), key=lambda item: -len(item[1])):
        both = [each.name for each in files if sum(readers.get(each.file, ())) == len(READERS)]
        print(f"| {len(files)} | {reason} | {len(both)}{': ' * bool(both)}{', '.join(both)} |")
        if name_all:
            print(*(f"  {each.name}: {each.reason} {readers.get(each.file)}\n" for each in files), sep="", end="")

    doubted = [each.name for each in results if not each.reason and not sum(readers.get(each.file, (True,)))]
    print(f"\nlabels that both readers refuse: {', '.join(doubted) or 'none'}")
    slowest = sorted(results, key=lambda each: -each.seconds)[:3]
    print("slowest: " + ", ".join(f"{each.seconds:.2f} s ({each.name})" for each in slowest))
    print(f"all {len(results)} in {sum(each.seconds for each in results):.1f} s")
    print(f"largest memory of a checking process: {memory:.0f} MB")
    if convert:
        print("\n| conversion | labels that it changes | refused | page 1 prints the same | page 1 prints otherwise |")
        print("|---|---|---|---|---|")
        for name, conversion in CONVERTED.items():
            seen = Counter([await _converted(each.file, conversion) for each in results if not each.reason])
            cells = (seen.total() - seen["unchanged"], seen["refused"], seen["same"], seen["other"])
            print(f"| {name} | {' | '.join(map(str, cells))} |")


async def _checked(folder: Path, file: Path) -> Checked:
    started = time.perf_counter()
    reason = await _reason(file.read_bytes())
    return Checked(folder, file, reason, time.perf_counter() - started)


async def _reason(content: bytes) -> str:
    try:
        await verify_label(content, pages=None, media_types=tuple(KINDS.values()))
    except NotALabel as error:
        return error.reason
    return ""


async def _converted(file: Path, conversion: Callable[[bytes], bytes]) -> str:
    """What becomes of a label: unchanged, refused, or accepted with its first page printed the same or otherwise."""
    content = file.read_bytes()
    if file.suffix.lower() != ".pdf" or (changed := conversion(content)) == content:
        return "unchanged"
    if await _reason(changed):
        return "refused"
    before, after = _printed(content), _printed(changed)
    differing = sum(abs(one - other) > 64 for one, other in zip(before, after, strict=False))
    same = len(before) == len(after) and differing <= len(before) / 2000  # what nobody sees, such as a font's hints
    return "same" if same else "other"


def _printed(content: bytes) -> bytes:
    """The first page in grey at 40 dots per inch, empty when there is none."""
    command = ["pdftoppm", "-r", "40", "-gray", "-f", "1", "-l", "1", "-"]
    try:
        return subprocess.run(command, input=content, capture_output=True, timeout=PATIENCE, check=False).stdout
    except subprocess.TimeoutExpired:
        return b""


def _readers(file: Path) -> list[bool]:
    """Whether pdfinfo and qpdf accept it; qpdf's 3 means that it could mend what it warned of."""
    answers = []
    for command in READERS.values():
        try:
            done = subprocess.run([*command, file], capture_output=True, timeout=PATIENCE, check=False)
            answers.append(done.returncode in ((0, 3) if command[0] == "qpdf" else (0,)))
        except subprocess.TimeoutExpired:
            answers.append(False)
    return answers


if __name__ == "__main__":
    arguments = [argument for argument in sys.argv[1:] if not argument.startswith("--")]
    if not arguments:
        raise SystemExit(__doc__)
    asyncio.run(main([Path(argument) for argument in arguments], "--all" in sys.argv, "--converted" in sys.argv))
