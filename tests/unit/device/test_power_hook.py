"""CommandPowerHook with real processes."""

import asyncio
import sys
from pathlib import Path

import pytest

from cryofw.device import CommandPowerHook, PowerHookFailed


def python(code: str) -> tuple[str, ...]:
    return (sys.executable, "-c", code)


def test_a_hook_that_works(tmp_path: Path) -> None:
    mark = tmp_path / "cycled"
    hook = CommandPowerHook((*python("import sys; open(sys.argv[1], 'w')"), str(mark)))
    asyncio.run(hook.cycle("c1-a"))
    assert mark.exists()


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (python("print('relay 4 is stuck'); raise SystemExit(3)"), "exit code 3: relay 4 is stuck"),
        (python("raise SystemExit(1)"), "exit code 1: no output"),
        (("/no/such/hook",), "No such file"),
        ((), "no command is named"),
        (("a\0b",), "null byte"),
    ],
)
def test_a_hook_that_fails(argv: tuple[str, ...], words: str) -> None:
    with pytest.raises(PowerHookFailed) as caught:
        asyncio.run(CommandPowerHook(argv).cycle("c1-a"))
    assert words in str(caught.value)
    assert caught.value.hint
    assert caught.value.exit_code == 7


def test_a_hook_may_leave_something_running() -> None:
    code = (
        "import subprocess, sys;"
        "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(2)'])"
    )
    asyncio.run(CommandPowerHook(python(code), timeout_s=1.5).cycle("c1-a"))


def test_a_hook_that_hangs_is_killed() -> None:
    hook = CommandPowerHook(
        python("import sys; sys.stdin = open('/dev/zero'); [None for _ in iter(int, 1)]"),
        timeout_s=0.3,
    )
    with pytest.raises(PowerHookFailed, match=r"not done after 0\.3 s"):
        asyncio.run(hook.cycle("c1-a"))
