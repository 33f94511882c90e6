"""What the worker shows of itself: log lines, metrics, and the small HTTP server that answers for them."""
