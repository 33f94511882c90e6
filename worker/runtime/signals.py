"""The signals that ask a process to end, kept until they are taken; light enough to be the first import."""

import signal


def stop_signals() -> set[signal.Signals]:
    """SIGTERM, SIGINT, and SIGHUP unless we were started to outlive the terminal, as nohup(1) does it."""
    asked = {signal.SIGTERM, signal.SIGINT}
    return asked if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN else asked | {signal.SIGHUP}


def keep_signals() -> set[signal.Signals]:
    """Let them wait, in this thread and those that it starts, until they are taken or let through; these signals.

    The first process of a container needs that too: without it the kernel drops signals that it has no handler for
    (pid_namespaces(7)).
    """
    signals = stop_signals()
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    return signals


def let_signals_through() -> None:
    """Have them do again what they did, those that wait too."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, stop_signals())
