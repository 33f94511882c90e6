"""How a request reaches a carrier, and how each way in which it can end is told."""
