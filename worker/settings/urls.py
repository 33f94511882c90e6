"""What a URL in the settings may look like, and how to show one without its password."""

import re
from urllib.parse import SplitResult, unquote, urlsplit

from worker.domain.file_names import read_label_store
from worker.domain.masking import MASK
from worker.listening import check_host

_SECRET_PARAMETER = re.compile(
    r"\w*(?:pass|password|passwd|passphrase|secret|token|api_?key|access_?key|account_?key|signature)|sig",
    re.IGNORECASE,
)

# None of the messages below repeats the value: a URL may hold a password, even a malformed one.


def masked_url(url: str) -> str:
    """Return `url` with the password in it, if any, replaced by `********`; safe for any text.

    Masks too much rather than too little: everything from the first colon of the authority up to the last `@`,
    since a password that somebody forgot to percent-encode may hold any character.
    """
    scheme, separator, rest = url.partition("://")
    if not separator:
        return MASK if "@" in url else _without_secrets(url)
    if scheme.lower() != "sqlite":  # it has files alone, whose names may hold both characters
        before, at, after = rest.rpartition("@")
        user, colon, _ = before.partition(":")
        if at and colon:
            rest = f"{user}:{MASK}@{after}"
    return f"{scheme}://{_without_secrets(rest)}"


def _without_secrets(text: str) -> str:
    """Mask what stands for a secret behind a ? or &, up to the next &: the name may be percent-encoded as well."""
    parts = re.split(r"([?&;])", text)
    for number in range(2, len(parts), 2):
        name, equals, _ = parts[number].partition("=")
        if equals and _SECRET_PARAMETER.fullmatch(unquote(name)):
            parts[number] = f"{name}={MASK}"
            for behind in range(number + 1, len(parts), 2):
                if parts[behind] == "&":
                    break
                parts[behind : behind + 2] = "", ""
    return "".join(parts)


def check_base_url(url: str) -> str:
    """Accept an http(s) URL without query, fragment and user; return it without its trailing slash."""
    parts = _split_http(url)
    if "?" in url or "#" in url:
        raise ValueError("must have no query and no fragment")
    if "@" in parts.netloc:
        raise ValueError("must hold no user or password; the key belongs in api_key or api_key_file")
    return url.rstrip("/")


def check_proxy(url: str) -> str:
    """Accept "" (no proxy) or http(s)://[USER:PASSWORD@]HOST[:PORT], else raise ValueError."""
    if not url:
        return url
    parts = _split_http(url)
    if parts.path.strip("/") or "?" in url or "#" in url:
        raise ValueError("must be http://HOST:PORT (with USER:PASSWORD@ where needed), without a path")
    return url.rstrip("/")


def check_endpoint(url: str) -> str:
    """Accept "" (none) or an http(s) URL without user and fragment, path and query as they are."""
    if not url:
        return url
    if "@" in _split_http(url).netloc or "#" in url:
        raise ValueError("must hold no user, no password and no fragment")
    return url


def check_origin(url: str) -> str:
    """Accept http(s)://HOST[:PORT] alone; return it as browsers write an origin: lower case, no usual port."""
    parts = _split_http(url)
    if parts.path.strip("/") or "?" in url or "#" in url or "@" in parts.netloc:
        raise ValueError("must be https://HOST or http://HOST, with a port where it is not the usual one, and no more")
    host = check_host(parts.hostname or "")
    usual = {"http": 80, "https": 443}[parts.scheme]
    port = "" if parts.port in (None, usual) else f":{parts.port}"
    return f"{parts.scheme}://{f'[{host}]' if ':' in host else host}{port}"


def check_label_store(store: str) -> str:
    """Accept what `read_label_store` can read, else raise ValueError."""
    read_label_store(store)
    return store


def _split_http(url: str) -> SplitResult:
    wrong = "must be an http:// or https:// URL with a host"
    if any(character <= " " or character == "\x7f" for character in url):
        raise ValueError(f"{wrong}, without spaces")
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise ValueError(f"{wrong} and a port from 0 to 65535, if any") from None
    if parts.scheme not in {"http", "https"} or not host:
        raise ValueError(wrong)
    return parts
