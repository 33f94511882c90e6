"""Sends one event of type `test` to a webhook at once, with what is configured here, and writes nothing down."""

import time
from dataclasses import dataclass
from datetime import UTC, datetime

from worker.domain.delivery import Delivered
from worker.domain.news import Message, Source
from worker.from_settings import open_sender
from worker.settings import KeyUnavailableError, Settings, secret_source
from worker.usecases.not_done import NotConfigured, WrongRequest, capped

TYPE = "test"
"""The type of such an event, which is no other's; it is about no return, and its position is 0."""


@dataclass(frozen=True, slots=True)
class Tried:
    """What came back, in our words, and after how many seconds."""

    is_delivered: bool
    said: str
    seconds: float


async def try_webhook(settings: Settings, name: str) -> Tried:
    """Send it; raises `WrongRequest` where no webhook of this name is configured, `NotConfigured` without a secret."""
    configured = settings.news.get(name)
    if configured is None:
        there_is = [each for each, told in settings.news.items() if told.kind == "webhook"]
        only = f", only {', '.join(capped(there_is))}" if there_is else ""
        raise WrongRequest(f"no webhook {name!r} is configured here{only}: [news.NAME] says where to send")
    if configured.kind != "webhook":
        raise WrongRequest(f"{name} is a table: the shop reads it by itself, and nothing is sent to it")
    secret = secret_source(settings, name)
    try:
        secret.current()
    except KeyUnavailableError as error:
        raise NotConfigured(f"news.{name}: {error}") from None
    now = datetime.now(UTC)
    sender, began = open_sender(settings, name, secret.current), time.monotonic()
    try:
        answered = await sender.send(Message(TYPE, "", "", 0, 0, Source.TRANSITION, 0, now), now)
    finally:
        await sender.close()
    seconds = time.monotonic() - began
    if isinstance(answered, Delivered):
        return Tried(True, "the endpoint took it", seconds)
    return Tried(False, answered.message, seconds)
