"""The demo."""


def demo() -> None:
    """The whole job."""
