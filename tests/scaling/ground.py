"""Makes the databases that the figures in docs/operate/scaling.md were measured on, measures, and removes them.

    python -m tests.scaling.ground [COMPLETED]

Half an hour and 15 GB of disk with the 980,000 completed returns of the page; fewer for a look.
"""

import asyncio
import sys
import tempfile
from pathlib import Path

from tests.postgres import PostgresServer
from tests.scaling import capacity, measure
from tests.scaling.filling import Amount, fill

_LIVE = Amount(completed=0, followed=20_000, due=10_000)


def main(completed: int) -> None:
    """Both kinds of database, without and with completed returns."""
    server = PostgresServer.start()
    try:
        with tempfile.TemporaryDirectory() as folder:
            postgresql = [server.create_database() for _ in range(2)]
            sqlite = [f"sqlite:///{Path(folder)}/{name}.db" for name in ("without", "with")]
            for urls in (postgresql, sqlite):
                for url, old in zip(urls, (0, completed), strict=True):
                    asyncio.run(fill(url, Amount(old, _LIVE.followed, _LIVE.due)))
                print(urls[0].partition(":")[0])
                asyncio.run(measure.main(urls))
            for url in postgresql:
                capacity.main(url, 8.0)
    finally:
        server.stop()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 980_000)
