"""docs/integrate/recipes.md: its Django models, in a Django of their own, write what is the shop's and nothing else."""

import json
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.documents.pages import read, snippet
from tests.process.running import PAYLOAD

PAGE = read("docs/integrate/recipes.md")

# It is no dependency of the tests: it unpacks to 50 MB, of which a single page is tried. .ci/run installs it.
pytestmark = pytest.mark.skipif(find_spec("django") is None, reason="needs Django: pip install 'django>=5.2,<6'")

USED = """
import json, sys
import django
from django.conf import settings

database, payload = json.loads(sys.argv[1])
settings.configure(INSTALLED_APPS=["shop"], DATABASES={"default": database}, USE_TZ=True)
django.setup()

from django.core.management import call_command
from django.db import ProgrammingError, models, transaction
from shop.models import ReturnOrder, ask_for_return, mend, withdraw

call_command("check")
ask_for_return("D-1", {"description": "first"})
order = ReturnOrder.objects.get(account="default", reference="D-1")
assert (order.state, list(order.labels.all())) == ("pending", [])
mend(order, payload)
withdraw(order)
order.refresh_from_db()
assert order.payload == payload
assert order.cancel_requested_at and order.retry_requested_at
order.state = "completed"
for fields in ({}, {"update_fields": ["state"]}):
    try:
        order.save(**fields)
    except TypeError as error:
        assert "save(update_fields=...)" in str(error)
    else:
        raise AssertionError("it was saved")
if database["ENGINE"].endswith("postgresql"):  # what it comes to without that guard
    for whole in (order, ReturnOrder(reference="D-2", payload={})):
        try:
            with transaction.atomic():
                models.Model.save(whole)
        except ProgrammingError as error:
            assert "permission denied for table return_order" in str(error)
        else:
            raise AssertionError("it was written")
print("used")
"""


@pytest.fixture
def databases(request: pytest.FixtureRequest, tmp_path: Path, kind: str) -> Iterator[dict[str, Any]]:
    """What Django is told of the database."""
    if kind == "sqlite":
        (tmp_path / "returns.db").write_bytes(request.getfixturevalue("migrated_file").read_bytes())
        yield {"ENGINE": "django.db.backends.sqlite3", "NAME": str(tmp_path / "returns.db")}
        return
    url = urlsplit(request.getfixturevalue("shop_url"))
    place = {"NAME": url.path[1:], "USER": url.username, "HOST": url.hostname, "PORT": url.port}
    yield {"ENGINE": "django.db.backends.postgresql", **place}


def test_django_writes_what_is_the_shops_and_saves_no_whole_row(databases: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "__init__.py").touch()
    (tmp_path / "shop" / "models.py").write_text(
        snippet("recipe-django", read("docs/integrate/recipes.md")), encoding="utf-8"
    )
    told = json.dumps([databases, PAYLOAD])
    ran = subprocess.run(
        [sys.executable, "-c", USED, told], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60
    )
    assert ran.stdout.splitlines()[-1:] == ["used"], ran.stdout + ran.stderr
