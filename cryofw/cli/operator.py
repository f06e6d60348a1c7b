"""Who runs a command: the name that goes into the journal and onto the devices' leases."""

from __future__ import annotations

import getpass
import os
import socket


def operator_name() -> str:
    """CRYOFW_USER, else the GitLab job and its user, else user@host."""
    environ = os.environ
    if name := environ.get("CRYOFW_USER", "").strip():
        return name
    if job := environ.get("CI_JOB_ID"):
        user = environ.get("GITLAB_USER_LOGIN") or "gitlab"
        return f"{user}@gitlab-job-{job}"
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = f"uid{os.getuid()}"
    return f"{user}@{socket.gethostname()}"
