"""Signs a webhook's request by the Standard Webhooks specification 1.0.0 (https://www.standardwebhooks.com)."""

import base64
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from datetime import datetime


def signed(message_id: str, content: bytes, keys: Sequence[bytes], at: datetime) -> Mapping[str, str]:
    """The headers that a receiver verifies `content` by; `at` is when this try is made, and not when something was.

    Each of `keys` signs: while one replaces the other a receiver may know either.
    """
    timestamp = str(int(at.timestamp()))
    told = b".".join((message_id.encode(), timestamp.encode(), content))
    signatures = (base64.b64encode(hmac.new(key, told, hashlib.sha256).digest()).decode() for key in keys)
    return {
        "webhook-id": message_id,
        "webhook-timestamp": timestamp,
        "webhook-signature": " ".join(f"v1,{signature}" for signature in signatures),
    }
