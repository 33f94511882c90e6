"""What a command does with what it was started with: streams that fail, descriptors that are closed, variables."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.process.nursery import nursery
from worker.cli.commands import Commands
from worker.cli.output import answer

FULL = Path("/dev/full")
NO_TYPER = "from worker.cli import entry; entry._code_of = lambda _: "
AT_AN_IMPORT = """
import os, sys
class Importing:
    def find_spec(self, name, path, target=None):
        if name == {module!r}:
            os.kill(os.getpid(), {number})
sys.meta_path.insert(0, Importing())
from worker.cli import main
main()
"""


@pytest.fixture
def shop(folder: Path, migrated_file: Path) -> Path:
    """A folder whose database has one return."""
    (folder / "returns-worker.toml").write_text(
        f'[database]\nurl = "sqlite:///{folder}/returns.db"\n[accounts.default]\napi_key = "IZI-a-key"\n'
        '[http]\nlisten = "127.0.0.1:0"\n'
    )
    (folder / "returns.db").write_bytes(migrated_file.read_bytes())
    (folder / "in.json").write_text('[{"reference": "Jörg-€", "payload": {}}]', encoding="utf-8")
    assert typed(folder, "add", str(folder / "in.json")) == (0, "")
    return folder


def typed(folder: Path, *words: str, **streams: Path | None) -> tuple[int, str]:
    """Exit code and stderr of `returns-worker` with these words; its `streams` are files, or None: closed."""
    errors = folder / "errors"
    errors.write_text("")
    config = ("--config", str(folder / "returns-worker.toml"))
    code = nursery().start(*config, *words, **{"errors": errors, **streams}).wait()
    return code, errors.read_text()


def scripted(script: str, *words: str, stdout: int = subprocess.PIPE, **environ: str) -> tuple[int, bytes, bytes]:
    """Exit code, stdout and stderr of a Python of its own."""
    command, environ = [sys.executable, "-c", script, *words], os.environ | environ
    done = subprocess.run(command, env=environ, stdout=stdout, stderr=subprocess.PIPE, check=False, timeout=60)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(("output", "reason"), [(FULL, "No space left on device"), (None, "Bad file descriptor")])
@pytest.mark.parametrize("words", [["list"], ["list", "--json"], ["show", "Jörg-€"], ["--version"]], ids=" ".join)
def test_a_result_that_cannot_be_written_is_one_line_and_a_failure(
    shop: Path, words: list[str], output: Path | None, reason: str
) -> None:
    assert typed(shop, *words, output=output) == (1, f"error: cannot write to stdout: {reason}\n")


def test_what_cannot_be_written_when_the_command_ends_is_no_other_case() -> None:
    with FULL.open("wb") as full:
        code, _, errors = scripted(f"{NO_TYPER} sys.stdout.write('x') and 0; import sys; entry.main()", stdout=full)
    assert (code, errors) == (1, b"error: cannot write to stdout: No space left on device\n")


def test_a_reader_that_has_seen_enough_is_no_error() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    code, _, errors = scripted("from worker.cli import main; main()", "--version", stdout=writer)
    os.close(writer)
    assert (code, errors) == (1, b"")


def test_a_message_is_there_before_the_command_ends_whatever_python_is_told_of_buffers() -> None:
    saying = f"{NO_TYPER} sys.stderr.write('waits\\n') and os._exit(0); import os, sys; entry.main()"
    for variable in ({"PYTHONUNBUFFERED": "1"}, {"PYTHONUNBUFFERED": ""}):
        assert scripted(saying, **variable) == (0, b"", b"waits\n")


@pytest.mark.parametrize("errors", [FULL, None], ids=["full", "closed"])
def test_a_message_that_cannot_be_written_stops_no_command(shop: Path, errors: Path | None) -> None:
    assert typed(shop, "list", "--account", "elsewhere", errors=errors)[0] == 0
    assert typed(shop, "show", "R-1", errors=errors)[0] == 1
    assert typed(shop, "show", errors=errors)[0] == 2


def test_closed_input_is_said(shop: Path) -> None:
    code, errors = typed(shop, "add", "-", input=None)
    assert (code, errors) == (1, "-: cannot be read: [Errno 9] Bad file descriptor\nnothing was inserted\n")


def test_characters_that_a_table_s_reader_has_not_are_spelled(shop: Path) -> None:
    ascii_only = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    code, output, errors = scripted("from worker.cli import main; main()", "list", **ascii_only)
    assert (code, errors) == (0, b"")
    assert rb"J\xf6rg-\u20ac" in output


def test_characters_that_the_reader_of_a_line_has_not_are_spelled() -> None:
    script = f"from worker.cli.output import answer, say; {NO_TYPER} (answer('Jörg-€'), say('Jörg-€')) and 0"
    code, output, errors = scripted(f"{script}; entry.main()", PYTHONIOENCODING="ascii:strict")
    assert (code, output, errors) == (0, rb"J\xf6rg-\u20ac" + b"\n", rb"J\xf6rg-\u20ac" + b"\n")


def test_every_line_takes_that_way() -> None:
    commands = Path(sys.modules[answer.__module__].__file__ or "").parent
    assert [file.name for file in commands.rglob("*.py") if "typer.echo(" in file.read_text()] == ["output.py"]


def test_variables_that_were_set_for_a_neighbour_do_nothing(shop: Path) -> None:
    (shop / "there").mkdir()
    neighbours = {
        "PROMETHEUS_MULTIPROC_DIR": "there",
        "prometheus_multiproc_dir": "there",
        "SSLKEYLOGFILE": "there/keys",
        "HTTP_PROXY": "http://127.0.0.1:1",
        "HTTPS_PROXY": "http://127.0.0.1:1",
        "NETRC": "there",
    }
    code, _, errors = scripted("from worker.cli import main; main()", "run", "--until-idle", **neighbours)
    assert code == 0, errors
    assert not list((shop / "there").iterdir())


@pytest.mark.parametrize("module", ["worker.cli.probe", "worker.cli.commands", "worker.cli.list_and_show"])
def test_ctrl_c_while_a_command_is_imported_ends_it_as_at_any_other_time(shop: Path, module: str) -> None:
    script = AT_AN_IMPORT.format(module=module, number=int(signal.SIGINT))
    assert scripted(script, "list") == (130, b"", b"")


def test_a_signal_while_run_is_imported_is_obeyed_as_at_any_other_time(shop: Path) -> None:
    code, output, errors = scripted(AT_AN_IMPORT.format(module="worker.cli.probe", number=int(signal.SIGHUP)), "run")
    assert (code, output) == (0, b""), errors
    assert b'"event": "stopping", "signal": "SIGHUP"' in errors
    assert b"Traceback" not in errors


def test_only_run_keeps_signals_and_no_command_with_that_word(shop: Path) -> None:
    assert [name for name, entry in Commands.entries.items() if entry.takes_signals] == ["run"]
    script = AT_AN_IMPORT.format(module="worker.cli.list_and_show", number=int(signal.SIGTERM))
    assert scripted(script, "show", "run") == (-signal.SIGTERM, b"", b"")
