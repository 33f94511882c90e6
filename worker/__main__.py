"""`python -m worker` is `returns-worker`."""

from worker.cli import main

main()
