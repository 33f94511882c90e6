"""When we do it: the ticks, and how the process ends."""
