"""The table of all commands, and the click group that imports only the one that runs."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from cryofw.cli.suggestion import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Sequence


class LazyCommand(NamedTuple):
    """One line of the table: enough to print the help without importing the command."""

    name: str
    target: str
    """`module:attribute` of the click command, below `cryofw.cli`."""
    section: str
    summary: str


COMMANDS: tuple[LazyCommand, ...] = (
    LazyCommand("init", "init:init", "Firmware", "Lay out a lab: sample firmware, fleet, keys."),
    LazyCommand("build", "build:build", "Firmware", "Build the sample firmware with make."),
    LazyCommand("sign", "sign:sign", "Firmware", "Sign firmware for MCUboot."),
    LazyCommand("verify", "verify:verify", "Firmware", "Check an image against trusted keys."),
    LazyCommand("inspect", "inspect:inspect", "Firmware", "Show what is inside an image."),
    LazyCommand("keys", "keys:keys", "Keys", "Generate and list signing keys."),
    LazyCommand("release", "release:release", "Releases", "Publish releases, and trust them."),
    LazyCommand("policy", "policy:policy", "Releases", "Who may do what, with which keys."),
    LazyCommand("plan", "deploy:plan", "Rollout", "Show what a deploy would do."),
    LazyCommand("deploy", "deploy:deploy", "Rollout", "Roll out an image, stage by stage."),
    LazyCommand("status", "status:status", "Rollout", "Show how far a rollout is."),
    LazyCommand("approve", "approve:approve", "Rollout", "Let the next stage start."),
    LazyCommand("accept", "accept:accept", "Rollout", "Accept a device that is held, by name."),
    LazyCommand("resume", "deploy:resume", "Rollout", "Continue a paused or interrupted rollout."),
    LazyCommand("abort", "operate:abort", "Rollout", "End a rollout, revert what is on trial."),
    LazyCommand("rollback", "operate:rollback", "Rollout", "Take a whole rollout back."),
    LazyCommand("stop", "stop:stop", "Rollout", "Emergency stop: send nothing more."),
    LazyCommand("adopt", "adopt:adopt", "Lab", "Take over devices that were flashed by hand."),
    LazyCommand("recover", "recover:recover", "Lab", "Bring back a device that runs nothing."),
    LazyCommand("pin", "pin:pin", "Lab", "Leave a device out of rollouts, or of all but one."),
    LazyCommand("unpin", "pin:unpin", "Lab", "Let a device take part again."),
    LazyCommand("inventory", "status:inventory", "Lab", "Show what runs on each device."),
    LazyCommand("quarantine", "status:quarantine", "Lab", "List and clear stuck devices."),
    LazyCommand("drift", "drift:drift", "Lab", "Find metrics that slowly drift over days."),
    LazyCommand("gate", "gate:gate", "Lab", "Try the gates of fleet.yaml on recorded data."),
    LazyCommand("schema", "schema:schema", "Lab", "Print the JSON Schema of fleet.yaml."),
    LazyCommand("audit", "audit:audit", "Records", "Prove the journal, and read it as a story."),
    LazyCommand("sim", "sim:sim", "Simulation", "Make and serve a simulated lab."),
    LazyCommand("demo", "demo:demo", "Simulation", "Run the main job on a simulated lab."),
)
"""In the order in which the help shows them; sections appear where they first occur."""


class UnknownCommand(click.UsageError):
    """A command that the table does not have.

    Args:
        message: the sentence for the user.
        ctx: the group in which it was looked up.
        hint: the nearest names, or empty.
    """

    def __init__(self, message: str, ctx: click.Context, hint: str) -> None:
        super().__init__(message, ctx)
        self.hint = hint


class LazyGroup(click.Group):
    """A click group over a table; commands are imported when they are looked up."""

    def __init__(self, *args: Any, table: Sequence[LazyCommand] = COMMANDS, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._table = {command.name: command for command in table}

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  # click's
        """All names, in the order of the table."""
        return list(self._table)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002  # click's
        """Import and return one command; None when the table does not have it."""
        entry = self._table.get(cmd_name)
        if entry is None:
            return None
        module, _, attribute = entry.target.partition(":")
        command = getattr(import_module(f"cryofw.cli.{module}"), attribute)
        assert isinstance(command, click.Command), f"{entry.target} is not a click command"
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, with the nearest name as the hint for a mistyped one."""
        name = args[0]
        if name not in self._table and not name.startswith("-"):
            raise UnknownCommand(f"no such command {name!r}", ctx, did_you_mean(name, self._table))
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002  # click's
        """Print the table by sections; imports no command."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for command in self._table.values():
            sections.setdefault(command.section, []).append((command.name, command.summary))
        widest = max(map(len, self._table), default=0)
        for title, rows in sections.items():
            with formatter.section(title):
                formatter.write_dl([(name.ljust(widest), summary) for name, summary in rows])
