"""Errors become words on stderr and documented exit codes, in one place."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

from cryofw import errors
from cryofw.cli.commands import COMMANDS, LazyCommand
from cryofw.cli.main import cli, run

CRYOFW = str(Path(sys.executable).parent / "cryofw")


def group_that_raises(error: BaseException) -> click.Group:
    @click.group()
    def group() -> None:
        pass

    @group.command()
    def fail() -> None:
        raise error

    return group


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (errors.UsageError, 2),
        (errors.BadInput, 3),
        (errors.VerificationFailed, 4),
        (errors.Refused, 5),
        (errors.RolledBack, 6),
        (errors.DeviceStuck, 7),
        (errors.Unreachable, 69),
        (errors.Paused, 75),
        (errors.Interrupted, 130),
    ],
)
def test_every_branch_of_errors_has_its_exit_code(
    kind: type[errors.CryofwError], code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    error = kind("c1-a did not answer", why="3 tries\nlast after 2 s", hint="check the cable")

    assert run(["fail"], group_that_raises(error)) == code

    captured = capsys.readouterr()
    assert captured.out == ""
    label = "paused" if kind is errors.Paused else "error"
    assert captured.err == (
        f"{label}: c1-a did not answer\n  3 tries\n  last after 2 s\nhint: check the cable\n"
    )


def test_the_table_of_exit_codes_in_the_help_is_complete(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["--help"]) == 0

    text = capsys.readouterr().out
    listed = set(map(int, re.findall(r"\b(\d+) [a-z]", text.split("Exit codes:")[1])))
    assert listed == {0, 1} | {kind.exit_code for kind in errors.CryofwError.__subclasses__()}


def test_an_unforeseen_exception_is_told_as_a_bug_and_its_traceback_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("CRYOFW_DEBUG", raising=False)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    assert run(["fail"], group_that_raises(ZeroDivisionError("by zero"))) == 1

    text = capsys.readouterr().err
    assert "this is a bug in cryofw: ZeroDivisionError: by zero" in text
    assert "Traceback" not in text
    (kept,) = tmp_path.iterdir()
    assert str(kept) in text
    assert "Traceback" in kept.read_text()
    assert kept.stat().st_mode & 0o077 == 0


def test_debug_shows_the_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CRYOFW_DEBUG", "1")

    assert run(["fail"], group_that_raises(ZeroDivisionError("by zero"))) == 1

    assert "Traceback (most recent call last)" in capsys.readouterr().err


@pytest.mark.parametrize("error", [KeyboardInterrupt(), click.Abort()])
def test_an_interrupt_is_no_bug(error: BaseException, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["fail"], group_that_raises(error)) == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_a_commands_own_exit_code_is_kept() -> None:
    assert run(["fail"], group_that_raises(click.exceptions.Exit(75))) == 75


@pytest.mark.parametrize(
    ("arguments", "message", "hint"),
    [
        (["sgin"], "no such command 'sgin'", "did you mean 'sign'? `cryofw --help`"),
        (["frobnicate"], "no such command 'frobnicate'", "`cryofw --help` shows the usage"),
        (["keys", "lst"], "no such command 'lst'", "`cryofw keys --help`"),
        (["verify", "--keey", "a", "b"], "no such option '--keey'", "did you mean '--key'"),
        (["verify"], "missing argument 'IMAGE'", "`cryofw verify --help`"),
        (["sign", "a", "b"], "missing option '-v' / '--version'", "`cryofw sign --help`"),
    ],
)
def test_bad_usage_names_the_nearest_thing_and_the_help(
    arguments: list[str], message: str, hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments) == 2

    captured = capsys.readouterr()
    assert captured.out == ""
    first, last = captured.err.splitlines()
    assert first == f"error: {message}"
    assert last.startswith("hint: ")
    assert hint in last


def test_no_arguments_show_the_help_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([]) == 2
    assert capsys.readouterr().err.startswith("Usage: cryofw")


def test_the_help_groups_all_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--help"]) == 0

    text = capsys.readouterr().out
    for command in COMMANDS:
        assert re.search(
            rf"^  {command.name} +{re.escape(command.summary[:20])}", text, re.MULTILINE
        )
        assert f"\n{command.section}:\n" in text


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_every_command_of_the_table_exists_and_explains_itself(
    command: LazyCommand, capsys: pytest.CaptureFixture[str]
) -> None:
    name = command.name
    found = cli.get_command(click.Context(cli), name)

    assert found is not None
    assert found.help
    assert run([name, "--help"]) == 0
    assert f"Usage: cryofw {name}" in capsys.readouterr().out


def test_the_reader_of_a_pipe_may_leave() -> None:
    reader, writer = os.pipe()
    os.close(reader)

    done = subprocess.run([CRYOFW, "--help"], stdout=writer, stderr=subprocess.PIPE)
    os.close(writer)

    assert done.returncode == 141
    assert done.stderr == b""


HEAVY = ["yaml", "pydantic", "cbor2", "rich", "serial", "securesystemslib", "numpy", "asyncio"]


@pytest.mark.parametrize(
    ("arguments", "unwanted"),
    [
        (["--help"], [*HEAVY, "cryptography", "cryofw.keys", "cryofw.image", "cryofw.cli.sign"]),
        (["--version"], [*HEAVY, "cryptography", "cryofw.keys", "cryofw.image"]),
        (
            ["sign", "firmware/build/good.bin", "o.bin", "-v", "1.0.0", "-k", "keys/firmware.pem"],
            [*HEAVY, "cryofw.keys.keyring", "cryofw.image.verify"],
        ),
        (
            ["sign", "firmware/build/good.bin", "o.bin", "-v", "1.0.0"],
            [name for name in HEAVY if name != "yaml"],
        ),
    ],
    ids=["help", "version", "sign with a file", "sign with a keyring"],
)
def test_start_up_imports_only_what_it_needs(
    lab: Path, arguments: list[str], unwanted: list[str]
) -> None:
    program = (
        "import sys; from cryofw.cli.main import run; code = run(sys.argv[1:]);"
        "print('modules', *sys.modules); sys.exit(code)"
    )

    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], cwd=lab, capture_output=True, text=True
    )

    assert done.returncode == 0, done.stderr
    loaded = set(done.stdout.rpartition("modules ")[2].split())
    assert "click" in loaded
    assert loaded.isdisjoint(unwanted), loaded.intersection(unwanted)
