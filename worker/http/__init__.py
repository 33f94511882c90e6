"""How a request goes out and its answer comes in: addresses, connections, bodies, bounds."""
