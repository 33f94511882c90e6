"""When we do it: the ticks, how the process ends, and what the service manager hears of it."""
