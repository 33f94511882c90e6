"""Counts the pages of a PDF; the only place that knows pypdf, and imported in the child process alone."""

from io import BytesIO

from pypdf import PdfReader
from pypdf.errors import DependencyError, FileNotDecryptedError

from worker.labels.errors import NotALabel


def count_pages(content: bytes) -> int:
    """Count the pages by walking the PDF's page tree; raises `NotALabel` when that fails.

    Run only in a child process (see `child`): there is no bound on the time this takes.
    """
    try:
        reader = PdfReader(BytesIO(content))
        # pypdf tries the empty password by itself, which opens files that only forbid editing. When it
        # does not open, walking the tree raises; `len(reader.pages)` alone would believe /Count.
        return sum(1 for _ in reader.pages)
    except FileNotDecryptedError:
        raise NotALabel("the PDF is encrypted and needs a password") from None
    except DependencyError:
        raise NotALabel("the PDF is encrypted with AES, unreadable here without 'cryptography'") from None
    except MemoryError:
        raise NotALabel("reading the PDF takes too much memory") from None
    except RecursionError:
        raise NotALabel("the PDF is nested too deeply") from None
    except Exception as error:  # a hostile file makes pypdf raise nearly anything
        raise NotALabel(f"the PDF cannot be read ({type(error).__name__})") from None
