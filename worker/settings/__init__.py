"""Settings: TOML and environment to frozen, validated `Settings`; all problems at once; secrets masked."""

from worker.settings.checks import key_source, token_file
from worker.settings.durations import LONGEST, format_duration, parse_duration, parse_positive_duration
from worker.settings.load import load
from worker.settings.model import AccountSettings, DatabaseSettings, HttpSettings, Settings, check_schema
from worker.settings.news import NewsSettings
from worker.settings.news_checks import secret_source
from worker.settings.polling import AccountPolling, PollingOverride, PollingSettings
from worker.settings.problems import ConfigurationError
from worker.settings.secrets import KeySource, KeyUnavailableError, SecretFile, SecretSource, UrlSource, read_secret
from worker.settings.show import show
from worker.settings.urls import masked_url

__all__ = [
    "LONGEST",
    "AccountPolling",
    "AccountSettings",
    "ConfigurationError",
    "DatabaseSettings",
    "HttpSettings",
    "KeySource",
    "KeyUnavailableError",
    "NewsSettings",
    "PollingOverride",
    "PollingSettings",
    "SecretFile",
    "SecretSource",
    "Settings",
    "UrlSource",
    "check_schema",
    "format_duration",
    "key_source",
    "load",
    "masked_url",
    "parse_duration",
    "parse_positive_duration",
    "read_secret",
    "secret_source",
    "show",
    "token_file",
]
