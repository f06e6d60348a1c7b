"""A lab that is being served takes orders on a unix socket: power cycles, faults, questions.

One line of text is one order, one line of JSON the answer:

    power-cycle NAME [OFF_S]    what a power hook does
    fault NAME FAULT            see `faults.parse_fault`
    state NAME                  mode, boots, reset cause
    list                        every device

From a shell, for example as the power hook of a fleet:

    python -m cryofw.simulator.control DIR/control power-cycle NAME
"""

from __future__ import annotations

import json
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from cryofw.errors import CryofwError, Unreachable, UsageError
from cryofw.simulator.faults import parse_fault

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cryofw.simulator.lab import SimulatedLab

SOCKET_NAME = "control"
_TIMEOUT_S = 10.0
_LONGEST_ANSWER = 1 << 20


def obey(lab: SimulatedLab, order: str) -> Mapping[str, object]:
    """Carry out one order; return the answer, with `error` if it could not be done."""
    words = order.split()
    try:
        match words:
            case ["list"]:
                return {"devices": list(lab.names)}
            case ["power-cycle", name]:
                lab.power_cycle(name)
            case ["power-cycle", name, off_s]:
                lab.power_cycle(name, float(off_s))
            case ["fault", name, fault]:
                lab.inject(name, parse_fault(fault))
            case ["state", name]:
                ram = lab.controller(name).ram
                return {"mode": ram.mode, "boots": ram.boots, "reset_cause": ram.reset_cause}
            case _:
                return {"error": f"no such order: {order!r}"}
    except (CryofwError, ValueError) as error:
        return {"error": str(error)}
    return {"done": True}


def send_order(path: Path, *words: str) -> Mapping[str, object]:
    """Give an order to the lab that is served at the control socket `path`.

    Raises:
        Unreachable: nobody serves a lab there.
        UsageError: the order could not be carried out.
    """
    try:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(_TIMEOUT_S)
            client.connect(str(path))
            client.sendall((" ".join(words) + "\n").encode())
            with client.makefile("rb") as answers:
                answer = json.loads(answers.readline(_LONGEST_ANSWER))
    except (OSError, ValueError) as error:
        raise Unreachable(
            "no simulated lab is served there", why=f"{path}: {error}", hint="cryofw sim serve"
        ) from error
    if not isinstance(answer, dict):
        raise Unreachable("the served lab answered nonsense", why=repr(answer))
    if "error" in answer:
        raise UsageError("the served lab refused", why=str(answer["error"]))
    return answer


def main(arguments: list[str]) -> int:
    """Send one order; return the exit code."""
    try:
        if len(arguments) < 2:
            raise UsageError("usage: python -m cryofw.simulator.control SOCKET ORDER...")
        answer = send_order(Path(arguments[0]), *arguments[1:])
    except CryofwError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    sys.stdout.write(json.dumps(answer) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
