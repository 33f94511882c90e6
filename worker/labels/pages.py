"""Opens a PDF and counts the pages that print; knows pypdf, and is imported in the child process alone."""

from io import BytesIO

from pypdf import PasswordType, PdfReader
from pypdf.constants import UserAccessPermissions

from worker.labels.converted import was_converted
from worker.labels.errors import NotALabel
from worker.labels.printed import PrintedPages


def count_pages(content: bytes) -> int:
    """Count the pages of a PDF, each of which must print; raises `NotALabel` when one does not, or none can be read.

    Run only in a child process (see `child`): there is no bound on the time this takes.
    """
    number, printed = 0, PrintedPages()
    if was_converted(content):
        raise NotALabel("the PDF is damaged: it was converted as if it were text (its character set, or its line ends)")
    try:
        reader = PdfReader(BytesIO(content))
        if reader.is_encrypted:
            _check_encryption(reader)
        # Walks the page tree; `len(reader.pages)` would believe /Count.
        for number, page in enumerate(reader.pages, start=1):
            printed.check(page, number)
    except NotALabel:
        raise
    except NotImplementedError:  # of pypdf's for the keys of a public-key handler, and for revisions to come
        raise NotALabel("the PDF is encrypted in a way that cannot be read here") from None
    except MemoryError:
        raise NotALabel("reading the PDF takes too much memory") from None
    except RecursionError:
        raise NotALabel("the PDF is nested too deeply") from None
    except Exception as error:  # a hostile file makes pypdf raise nearly anything
        raise NotALabel(f"the PDF cannot be read ({type(error).__name__})") from None
    return number


def _check_encryption(reader: PdfReader) -> None:
    """Raise `NotALabel` unless everybody can open the file, and may print it (ISO 32000-1, table 22, bit 3).

    What an owner's password allows does not count, even where that is empty too: readers open the file as its user.
    """
    if reader.decrypt("") == PasswordType.NOT_DECRYPTED:
        raise NotALabel("the PDF is encrypted and needs a password to open")
    if UserAccessPermissions.PRINT not in (reader.user_access_permissions or UserAccessPermissions(0)):
        raise NotALabel("the PDF is encrypted and does not allow printing")
