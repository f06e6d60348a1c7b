"""The entry point, and the only place that turns an error into words and an exit code."""

from __future__ import annotations

import gc
import os
import sys
from typing import TYPE_CHECKING

import click

from cryofw import __version__
from cryofw.cli.commands import LazyGroup, UnknownCommand
from cryofw.errors import CryofwError, Paused

if TYPE_CHECKING:
    from collections.abc import Sequence

_GARBAGE_THRESHOLD = 50_000

EXIT_BUG = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130
EXIT_BROKEN_PIPE = 141
"""128 + SIGPIPE: the reader of our output went away, as for any program in a pipe."""


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, "-V", "--version", message="cryofw %(version)s")
def cli() -> None:
    """Build, sign and roll out firmware to cryo-CMOS controllers.

    After any rollout every device runs firmware that was proven good on it, and there is a
    record that proves it.

    \b
    Exit codes: 0 ok, 1 a bug, 2 usage, 3 bad input, 4 verification failed,
    5 refused, 6 rolled back, 7 a device is stuck, 69 unreachable,
    75 paused or inconclusive, 130 interrupted.
    """


def main() -> None:
    """Run the command line of this process and leave it with the documented exit code."""
    # Most commands live for a tenth of a second. Looking for garbage while modules are imported,
    # and once more through all of them at the end, would be a tenth of that.
    gc.set_threshold(_GARBAGE_THRESHOLD)
    code = run(sys.argv[1:])
    gc.freeze()
    sys.exit(code)


def run(arguments: Sequence[str], group: click.Group = cli) -> int:
    """Run one command line and return its exit code; every error is reported on stderr."""
    try:
        result = _invoke(list(arguments), group)
        sys.stdout.flush()
    except CryofwError as error:
        label = "paused" if type(error) is Paused else "error"
        _report(error.what, error.why, error.hint, label)
        return error.exit_code
    except click.exceptions.Exit as leave:
        return leave.exit_code
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return EXIT_USAGE
    except click.UsageError as error:
        _report(_usage_sentence(error), "", _usage_hint(error))
        return EXIT_USAGE
    except click.ClickException as error:
        _report(error.format_message(), "", "")
        return EXIT_USAGE
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        _silence_stdout()
        return EXIT_BROKEN_PIPE
    except Exception as error:  # noqa: BLE001  # the last line of defence: a bug, told as one
        return _report_bug(error)
    return result if isinstance(result, int) else 0


def _invoke(arguments: list[str], group: click.Group) -> object:
    # Not `cli.main`: it turns a broken pipe into exit code 1, which here means a bug.
    if "_CRYOFW_COMPLETE" in os.environ:
        return group.main(args=arguments, prog_name="cryofw", standalone_mode=False)
    with group.make_context("cryofw", arguments) as ctx:
        return group.invoke(ctx)


def _silence_stdout() -> None:
    """Make the flush at the end of the process succeed, though nobody reads any more."""
    devnull = os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, sys.stdout.fileno())


def _report(what: str, why: str, hint: str, label: str = "error") -> None:
    from cryofw.cli.output import Output

    output = Output(sys.stderr)
    head = output.style(f"{label}:", "red" if label == "error" else "yellow", bold=True)
    output.hanging(f"{head} ", _printable(what), len(label) + 2)
    # A device may have worded it: nothing of it may steer the reader's terminal.
    for line in why.splitlines():
        output.hanging("  ", _printable(line), 2)
    if hint:
        output.hanging(f"{output.style('hint:', 'cyan')} ", _printable(hint), 6)


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() or char == "\n" else " " for char in text)


def _usage_sentence(error: click.UsageError) -> str:
    known = getattr(error, "possibilities", None)
    sentence = error.message if known else error.format_message()
    sentence = " ".join(sentence.split()).rstrip(".")
    return sentence[:1].lower() + sentence[1:]


def _usage_hint(error: click.UsageError) -> str:
    hint = error.hint if isinstance(error, UnknownCommand) else ""
    if known := getattr(error, "possibilities", None):
        hint = "did you mean " + " or ".join(repr(name) for name in known) + "?"
    path = error.ctx.command_path if error.ctx else "cryofw"
    return f"{hint} `{path} --help` shows the usage".strip()


def _report_bug(error: Exception) -> int:
    """Keep the traceback in a private file (or show it under CRYOFW_DEBUG=1); exit code 1."""
    import tempfile
    import traceback

    text = "".join(traceback.format_exception(error))
    if os.environ.get("CRYOFW_DEBUG", "0") not in {"", "0"}:
        click.echo(text, err=True)
        where = ""
    else:
        try:
            with tempfile.NamedTemporaryFile(
                "w", prefix="cryofw-bug-", suffix=".txt", delete=False, encoding="utf-8"
            ) as file:
                file.write(f"cryofw {__version__}, Python {sys.version}\n{text}")
            where = f"the traceback is in {file.name}"
        except OSError:
            where = "the traceback could not be written; CRYOFW_DEBUG=1 shows it"
    _report(
        f"this is a bug in cryofw: {type(error).__name__}: {error}",
        where,
        "please report it with the traceback; `CRYOFW_DEBUG=1` shows it on the terminal",
    )
    return EXIT_BUG
