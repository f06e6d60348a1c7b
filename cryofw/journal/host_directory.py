"""Where this host keeps what must not travel with a state directory."""

from __future__ import annotations

import os
from pathlib import Path

from cryofw.errors import Refused


def host_state_directory() -> Path:
    """CRYOFW_HOST_STATE, else `cryofw` under XDG_STATE_HOME, else under ~/.local/state.

    The last checkpoint of each device's journal lies there, and what this host saw as a witness.

    Raises:
        Refused: this user has no home directory.
    """
    if own := os.environ.get("CRYOFW_HOST_STATE"):
        return Path(own)
    if base := os.environ.get("XDG_STATE_HOME"):
        return Path(base) / "cryofw"
    try:
        return Path.home() / ".local" / "state" / "cryofw"
    except RuntimeError as error:
        raise Refused(
            "there is no place for what this host has to remember",
            why=str(error),
            hint="CRYOFW_HOST_STATE names a directory that stays",
        ) from error
