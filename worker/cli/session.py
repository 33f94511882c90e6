"""Opens what a command works with: settings, logs and database."""

from collections.abc import Awaitable, Callable, Coroutine
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

import typer

from worker.cli.explained import explained
from worker.cli.output import say
from worker.cli.progress import progress
from worker.domain.masking import forms_of_address, forms_of_key
from worker.dsn import secrets_of_url
from worker.runtime.loop import run_loop
from worker.settings import Settings, load
from worker.store.database import Database
from worker.telemetry.logs import Redactor, configure_logs
from worker.usecases.opening import opened_database

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Session:
    """Settings, logs and database, for one use case."""

    context: typer.Context
    only_to_read: bool = False
    need_keys: bool = False
    doing: str = ""
    """What a terminal is shown where the use case takes long; nothing for one that prints meanwhile."""

    def call(
        self, use_case: Callable[Concatenate[Settings, Database, P], Awaitable[T]], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """What the use case comes to; the command ends here where something cannot be opened, or is refused."""

        async def opened_call() -> T:
            settings, _ = opened_settings(self.context, need_keys=self.need_keys)
            async with opened_database(settings, only_to_read=self.only_to_read, tell=note) as database:
                with progress(self.doing) if self.doing else nullcontext():
                    return await use_case(settings, database, *args, **kwargs)

        return run(opened_call())

    def call_without_database(
        self, use_case: Callable[Concatenate[Settings, P], Awaitable[T]], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """The same, of a use case that takes the settings alone."""

        async def opened_call() -> T:
            return await use_case(opened_settings(self.context)[0], *args, **kwargs)

        return run(opened_call())


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a command's coroutine to its end, with errors explained."""
    with explained():
        return run_loop(work)


def note(message: str) -> None:
    """Say something about what is shown, on stderr."""
    say(f"note: {message}")


def opened_settings(context: typer.Context, *, need_keys: bool = False) -> tuple[Settings, Redactor]:
    """The settings in force, and logs as they say."""
    settings = settings_of(context, need_keys=need_keys)
    return settings, logs_for(settings)


def settings_of(context: typer.Context, *, need_keys: bool = False) -> Settings:
    """The settings in force; `--config` names the file."""
    file: Path | None = context.obj
    if not need_keys:
        return load(file)
    from worker.carriers.registry import CARRIERS  # noqa: PLC0415 - what needs keys imports the carriers anyway

    return load(file, need_keys=True, carriers=CARRIERS)


def logs_for(settings: Settings) -> Redactor:
    """Logs as configured, with a redactor that knows the secrets in the settings; keys from files join it when read."""
    redactor = Redactor()
    for account in settings.accounts.values():
        key = account.api_key.get_secret_value() if account.api_key is not None else ""
        redactor.add(*forms_of_key(key), *forms_of_address(account.proxy))
    for news in settings.news.values():
        if news.secret is not None:
            redactor.add(*forms_of_key(news.secret.get_secret_value()))
    redactor.add(*secrets_of_url(settings.database.url))
    configure_logs(settings.log.format, settings.log.level, redactor)
    return redactor
