"""What a URL in the settings may look like, and how to show one without its password."""

import re
from urllib.parse import SplitResult, parse_qsl, urlencode, urlsplit

MASK = "********"

_SECRET_PARAMETER = re.compile(
    r"([?&;](?:\w*(?:pass|password|passwd|passphrase|secret|token|api_?key|access_?key|account_?key|signature)|sig)=)"
    r"[^&;#]*",
    re.IGNORECASE,
)
_PLACE = ("host", "port", "dbname")  # libpq's parameters that say which database it is
_STORE_SCHEMES = ("s3://", "gs://", "az://")

# None of the messages below repeats the value: a URL may hold a password, even a malformed one.


def masked_url(url: str) -> str:
    """Return `url` with the password in it, if any, replaced by `********`; safe for any text.

    Masks too much rather than too little: everything from the first colon of the authority up to the last `@`,
    since a password that somebody forgot to percent-encode may hold any character.
    """
    scheme, separator, rest = url.partition("://")
    if not separator:
        return MASK if "@" in url else _SECRET_PARAMETER.sub(rf"\1{MASK}", url)
    if not rest.startswith("/"):  # after three slashes there is no authority, so no user and password
        before, at, after = rest.rpartition("@")
        user, colon, _ = before.partition(":")
        if at and colon:
            rest = f"{user}:{MASK}@{after}"
    return f"{scheme}://" + _SECRET_PARAMETER.sub(rf"\1{MASK}", rest)


def place_of_url(url: str) -> str:
    """What a database is called to everybody: `url` without user and password, and of the parameters only the place."""
    parts = urlsplit(url)
    query = urlencode([pair for pair in parse_qsl(parts.query) if pair[0] in _PLACE])
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}" + (f"?{query}" if query else "")


def database_of_url(url: str) -> tuple[str, str]:
    """What tells a database from others, whoever connects to it: without a name of its own it has its user's.

    Raises ValueError, which repeats nothing of the URL.
    """
    try:
        parts = urlsplit(url)
        named = parts.path.strip("/") or "dbname" in dict(parse_qsl(parts.query))
        return place_of_url(url), "" if named else parts.netloc.rpartition("@")[0].partition(":")[0]
    except ValueError:
        raise ValueError("is no URL of a database") from None


def check_database_url(url: str) -> str:
    """Accept sqlite:///FILE, postgresql:// and postgres:// (returned as postgresql://), else raise ValueError."""
    scheme, separator, rest = url.partition("://")
    scheme = scheme.lower()
    if separator and scheme in {"postgresql", "postgres"}:
        return f"postgresql://{rest}"
    if not separator or scheme != "sqlite":
        raise ValueError("must be sqlite:///FILE or postgresql://USER@HOST/NAME; no other database is supported")
    path = rest.partition("?")[0].removeprefix("/")
    if not rest.startswith("/") or not path:
        raise ValueError("must name a file: sqlite:///returns.db (relative) or sqlite:////var/lib/x.db (absolute)")
    if path.startswith(":memory:"):
        raise ValueError("must name a file; a database in memory is seen by nobody else and forgets every return")
    return f"sqlite://{rest}"


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


def check_label_store(store: str) -> str:
    """Accept file:FOLDER, file:///FOLDER and s3://, gs://, az:// with a bucket, else raise ValueError."""
    folder = store.removeprefix("file:")
    if folder != store and folder.strip("/") and (not folder.startswith("//") or folder.startswith("///")):
        return store
    for scheme in _STORE_SCHEMES:
        if store.startswith(scheme) and store.removeprefix(scheme).strip("/"):
            return store
    raise ValueError("must be file:FOLDER (file:labels, file:///var/lib/labels), s3://..., gs://... or az://...")


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
