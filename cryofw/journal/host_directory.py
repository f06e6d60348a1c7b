"""Where this host keeps what must not travel with a state directory."""

from __future__ import annotations

import os
from pathlib import Path


def host_state_directory() -> Path:
    """CRYOFW_HOST_STATE, else `cryofw` under XDG_STATE_HOME, else under ~/.local/state.

    The last checkpoint of each device's journal lies there, and what this host saw as a witness.
    """
    if own := os.environ.get("CRYOFW_HOST_STATE"):
        return Path(own)
    if base := os.environ.get("XDG_STATE_HOME"):
        return Path(base) / "cryofw"
    return Path.home() / ".local" / "state" / "cryofw"
