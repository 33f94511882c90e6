"""A label is believed only after it was read."""

import asyncio
import hashlib
import json
import logging
import os
import re
import signal
import time

import pytest
from pypdf.constants import UserAccessPermissions

from tests.labels.pdfs import EVERYTHING, page, pdf, stream, written
from worker.labels import NotALabel, VerifiedLabel, media_type_of, printed, verify_label
from worker.labels.child import Child, ChildDied, ChildPool, ChildTimedOut


def page_tree(depth: int, fan: int) -> bytes:
    """A small valid PDF whose page tree has fan ** depth leaves: 1.8 kB can mean a million pages."""
    bodies = [b"<</Type/Catalog/Pages 2 0 R>>"]
    bodies += [b"<</Type/Pages/Count 1/Kids[" + b"%d 0 R " % (3 + at) * fan + b"]>>" for at in range(depth)]
    bodies += [b"<</Type/Page/MediaBox[0 0 9 9]>>"]
    return written(*bodies)


async def reason(content: bytes, pages: int | None = None, limit: float = 5.0) -> str:
    with pytest.raises(NotALabel) as caught:
        await verify_label(content, pages=pages, timeout=limit)
    assert str(caught.value) == caught.value.reason
    assert len(caught.value.reason) <= 200
    return caught.value.reason


async def test_a_pdf_with_the_expected_pages_is_a_label() -> None:
    content = pdf(2)
    label = await verify_label(content, pages=2)
    assert label == VerifiedLabel(content, "application/pdf", 2, hashlib.sha256(content).hexdigest())
    assert label.byte_count == len(content)


async def test_pages_are_counted_even_when_nobody_says_how_many_there_should_be() -> None:
    assert (await verify_label(pdf(3), pages=None)).page_count == 3


async def test_a_label_keeps_its_customer_out_of_logs() -> None:
    assert "content" not in repr(await verify_label(pdf(), pages=1))


@pytest.mark.parametrize(("has", "wanted"), [(1, 2), (3, 2)])
async def test_a_label_with_other_than_one_page_per_package_is_refused(has: int, wanted: int) -> None:
    assert f"{has} page(s) where {wanted} were expected" in await reason(pdf(has), wanted)


async def test_a_pdf_without_pages_is_no_label() -> None:
    assert "no pages" in await reason(page_tree(1, 0))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "empty"),
        (b" \r\n", "white space"),
        (b'{"message": "Jan Jansen"}', "JSON"),
        (b"\xef\xbb\xbf\n[]", "JSON"),
        (b"<!DOCTYPE HTML><p>Jan Jansen", "HTML"),
        (b"\n<html><p>Jan Jansen", "HTML"),
        (b"<?xml version='1.0'?><a/>", "XML"),
        (b"\x89PNG\r\n\x1a\n....", "PNG"),
        (b"\xff\xd8\xff\xe0", "JPEG"),
        (b"^XA^FDJan Jansen^XZ", "ZPL"),
        (b"PK\x03\x04", "ZIP"),
        (b"Jan Jansen", "unknown text"),
        (b"\x00\x01Jan Jansen", "unknown binary"),
        (b" \x89PNG\r\n\x1a\n....", "1 stray byte(s) with a PNG image behind"),
    ],
)
async def test_a_body_that_is_no_pdf_is_named_but_never_quoted(content: bytes, said: str) -> None:
    told = await reason(content)
    assert said in told
    assert "Jan" not in told


async def test_a_pdf_that_was_cut_off_is_refused() -> None:
    assert "cut off" in await reason(pdf()[:-10])


async def test_an_end_mark_far_from_the_end_does_not_count() -> None:
    assert "cut off" in await reason(pdf() + b"x" * 1024)


@pytest.mark.parametrize("behind", [b"\n" * 5000, bytes(5000), b"\0\r\n\t\f ", b"x" * 900])
async def test_the_end_mark_may_be_followed_by_a_little_or_by_white_space_without_end(behind: bytes) -> None:
    content = pdf() + behind
    assert (await verify_label(content, pages=1)).content == content


@pytest.mark.parametrize("before", [b"\xef\xbb\xbf", b"\r\n", b"<br />\n<b>Warning</b>: Jan\n", b"J" * 1024])
async def test_up_to_1024_bytes_may_stand_before_a_pdf(before: bytes) -> None:
    for content in (before + pdf(), before + _moved(pdf(), len(before))):
        label = await verify_label(content, pages=1)
        assert (label.content, label.media_type) == (content, "application/pdf")
        assert media_type_of(content) == "application/pdf"


def _moved(content: bytes, by: int) -> bytes:
    """The PDF with its table of objects as a writer leaves it that counts from the first byte of the file."""

    def longer(found: re.Match[bytes]) -> bytes:
        return b"%010d 00000 n" % (int(found[1]) + by)

    table = re.sub(rb"(\d{10}) 00000 n", longer, content)
    return re.sub(rb"startxref\n(\d+)", lambda found: b"startxref\n%d" % (int(found[1]) + by), table)


async def test_more_than_1024_bytes_before_a_pdf_are_no_pdf() -> None:
    content = b"J" * 1025 + pdf()
    assert "not a PDF but unknown text" in await reason(content)
    assert media_type_of(content) is None


@pytest.mark.parametrize(
    "content",
    [
        b"%PDF-1.4\n%%EOF",
        b"%PDF-1.4\nJan Jansen\n%%EOF",
        b"%PDF-1.4\n1 0 obj\n<</Root " + b"[" * 100_000 + b"\nendobj\ntrailer<</Root 1 0 R>>\n%%EOF",
        page_tree(2000, 1),
    ],
    ids=["nothing", "text", "nested arrays", "deep page tree"],
)
async def test_a_pdf_that_cannot_be_read_is_refused(content: bytes) -> None:
    told = await reason(content)
    assert "PDF" in told
    assert "Jan" not in told


ALGORITHMS = ("RC4-40", "RC4-128", "AES-128", "AES-256-R5", "AES-256")


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_an_encrypted_pdf_that_opens_without_a_password_and_may_be_printed_is_a_label(algorithm: str) -> None:
    content = pdf(2, "", algorithm)
    assert (await verify_label(content, pages=2)).content == content
    only_printed = pdf(1, "", algorithm, UserAccessPermissions.PRINT)
    assert (await verify_label(only_printed, pages=1)).page_count == 1


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_a_pdf_that_needs_a_password_or_forbids_printing_is_refused_and_told_which(algorithm: str) -> None:
    assert await reason(pdf(1, "secret", algorithm)) == "the PDF is encrypted and needs a password to open"
    unprinted = pdf(1, "", algorithm, EVERYTHING & ~UserAccessPermissions.PRINT)
    assert await reason(unprinted) == "the PDF is encrypted and does not allow printing"


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_an_encrypted_pdf_that_went_through_a_text_codec_is_refused(algorithm: str) -> None:
    await reason(pdf(1, "", algorithm).decode("utf-8", "replace").encode())


@pytest.mark.parametrize(
    ("handler", "said"),
    [
        (b"/Filter/Jan", "encrypted in a way that cannot be read"),
        (b"/Filter/Standard/V 9/R 9", "encrypted in a way that cannot be read"),
    ],
)
async def test_an_unknown_encryption_is_said(handler: bytes, said: str) -> None:
    content = page(b"/Contents 4 0 R", stream(b"0 0 9 9 re f")).replace(b"/Root", b"/Encrypt<<%s>>/Root" % handler)
    assert said in await reason(content)


@pytest.mark.parametrize("error", [RecursionError(), MemoryError(), KeyError("Jan Jansen"), ValueError("Jan")])
def test_whatever_the_pdf_reader_raises_means_no_label(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(printed, "PdfReader", fail)
    with pytest.raises(NotALabel) as caught:
        printed.count_pages(b"")
    assert "Jan" not in caught.value.reason


async def test_a_file_that_takes_for_ever_is_given_up_and_the_others_are_still_read() -> None:
    hostile = page_tree(40, 2)  # 2 ** 40 pages; pypdf itself gives up after 100,000 since 7.1, which takes longer too
    started = time.monotonic()
    answers = await asyncio.gather(
        *(reason(hostile, limit=0.1) for _ in range(3)), *(verify_label(pdf(), pages=1) for _ in range(5))
    )
    assert all("longer than 0.1 s" in str(answer) for answer in answers[:3])
    assert all(isinstance(answer, VerifiedLabel) for answer in answers[3:])
    assert time.monotonic() - started < 60  # not the hours it takes to read


async def test_reading_never_stops_the_event_loop() -> None:
    task = asyncio.create_task(reason(page_tree(40, 2), limit=0.1))
    turns = 0
    while not task.done():
        turns += 1
        await asyncio.sleep(0.001)
    assert "longer" in await task
    assert turns > 10


async def test_what_pdf_readers_complain_about_stays_quiet(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    sloppy = pdf().replace(b"startxref\n", b"startxref\n9")
    with caplog.at_level(logging.DEBUG):
        await verify_label(sloppy, pages=1)
        await reason(b"%PDF-1.4\n%%EOF")
    assert [record for record in caplog.records if record.name.startswith("pypdf")] == []
    assert capfd.readouterr() == ("", "")


SERVE = "from worker.labels import child\n{}\nchild.serve(count)"


def test_a_child_that_crashes_is_told_from_one_that_is_slow() -> None:
    crashing = Child(SERVE.format("import os\ncount = lambda content: os.abort()"))
    with pytest.raises(ChildDied):
        crashing.ask(b"x", 30)
    slow = Child(SERVE.format("import time\ncount = lambda content: time.sleep(3600)"))
    with pytest.raises(ChildTimedOut):
        slow.ask(b"x", 0.1)
    assert not crashing.alive
    assert not slow.alive


def test_a_child_knows_none_of_our_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RETURNS_WORKER_ACCOUNTS__DEFAULT__API_KEY", "hush")
    child = Child(SERVE.format("import os\ncount = lambda content: str(os.environ).count('hush')"))
    assert child.ask(b"x", 30).value == 0
    child.kill()


def test_a_child_outlives_the_signal_that_asks_the_daemon_to_drain() -> None:
    code = "import os, signal\ncount = lambda content: os.kill(os.getpid(), int(content)) or 7"
    child = Child(SERVE.format(code))
    for number in (signal.SIGTERM, signal.SIGINT):
        assert child.ask(str(int(number)).encode(), 30).value == 7
    child.kill()


def test_a_child_that_runs_out_of_memory_says_so_and_goes_on() -> None:
    code = "def count(content):\n    return len(bytes(int(content)))"
    child = Child(SERVE.format(code))
    assert child.ask(b"4000000000", 30).error
    assert child.ask(b"40", 30).value == 40
    child.kill()


def test_a_child_that_does_not_start_is_our_trouble_and_not_the_labels() -> None:
    with pytest.raises(OSError, match="did not start"):
        Child("raise SystemExit(3)")


def test_an_idle_child_that_was_killed_is_replaced() -> None:
    pool = ChildPool(SERVE.format("import os\ncount = lambda content: os.getpid()"))
    with pool.borrow() as child:
        first = child.ask(b"x", 30).value
    with pool.borrow() as child:
        assert child.ask(b"x", 30).value == first
    os.kill(first, signal.SIGKILL)
    child._process.wait()
    with pool.borrow() as child:
        assert child.ask(b"x", 30).value != first
    pool.close()


def test_a_large_label_reaches_the_child_whole() -> None:
    child = Child(SERVE.format("count = len"))
    assert child.ask(bytes(20_000_000), 30).value == 20_000_000
    assert json.dumps(child.ask(b"", 30).value) == "0"
    child.kill()
