"""No form of a secret is left out, and of a library's text no address, line feed or control character is shown."""

import base64
import json
import time

import pytest

from worker.domain.masking import IN_ANSWERS, forms_of_address, forms_of_key, said_by

PAIR = "shop-user:s3cr3t:pass"
SENT = base64.b64encode(PAIR.encode()).decode()


@pytest.mark.parametrize("key", [PAIR, SENT, f"Basic {SENT}", f"basic {PAIR}"])
def test_every_part_of_an_authorization_header_gives_a_key_away(key: str) -> None:
    assert {key, PAIR, SENT, "shop-user", "s3cr3t:pass"} <= set(forms_of_key(key))


def test_the_scheme_of_a_header_is_no_secret() -> None:
    assert forms_of_key("Bearer RP-token") == ("Bearer RP-token", "RP-token")


def test_a_plain_key_has_one_form_however_short_and_no_word_of_few_letters_is_masked() -> None:
    assert forms_of_key("abc") == ("abc",)
    assert forms_of_key("") == ()
    assert set(forms_of_key("shop:12345678")) == {"shop:12345678", "12345678", "c2hvcDoxMjM0NTY3OA=="}


def test_a_password_of_an_address_is_masked_as_it_is_written_meant_and_sent() -> None:
    forms = forms_of_address("http://us%40er:hunt%2Fer2@proxy:3128")
    assert set(forms) == {
        "us%40er:hunt%2Fer2",
        "hunt%2Fer2",
        "hunt/er2",
        "us@er:hunt/er2",
        base64.b64encode(b"us@er:hunt/er2").decode(),
    }
    assert "pass" in forms_of_address("http://user:pass@proxy:3128")
    assert "pass" not in forms_of_address("http://user:pass@proxy:3128", IN_ANSWERS)
    assert forms_of_address("http://proxy:3128") == forms_of_address("http://user@proxy:3128") == ()


@pytest.mark.parametrize(
    "text",
    [
        "cannot parse http://user:hunter2@proxy:3128",
        "user:hunter2@proxy:3128 refused",
        "GET https://bucket.s3.example/label.pdf?X-Amz-Signature=hunter2&X-Amz-Expires=60 failed",
        json.dumps({"url": "https://host/hunter2"}).replace("/", "\\/"),
        "wss+x://host/a'b hunter-1 'https://h/hunter2'",
    ],
)
def test_a_librarys_text_shows_no_address(text: str) -> None:
    said = said_by(ValueError(text))
    assert "hunter2" not in said
    assert "(address)" in said


def test_a_librarys_text_is_one_line_that_a_terminal_can_show() -> None:
    said = said_by(OSError("first\r\nsecond\x1b[31m\x00\u2028third\u202e\ud800\ttab " + "x" * 1000))
    assert said.startswith("first second [31m third tab x")
    assert len(said) == 300
    said.encode()


def test_where_it_says_nothing_its_type_does() -> None:
    assert said_by(ConnectionResetError()) == said_by(ConnectionResetError("\n")) == "ConnectionResetError"


@pytest.mark.parametrize("unit", ["a", "a:", "a@", "a:b@", "://", "a.-+", "\\/"])
def test_no_text_takes_long_to_read(unit: str) -> None:
    began = time.thread_time()
    said_by(ValueError(unit * 100_000))
    assert time.thread_time() - began < 0.2
