"""Options that several commands share, so that they mean the same everywhere.

A flag wins over the environment, the environment over the default.
"""

from __future__ import annotations

from pathlib import Path

import click

PATH = click.Path(path_type=Path)
"""Existence is not click's business: a missing file is bad input (exit 3), not bad usage."""

state_option = click.option(
    "--state",
    "state",
    type=PATH,
    envvar="CRYOFW_STATE",
    default=Path(".cryofw"),
    show_default=True,
    show_envvar=True,
    help="State directory: journal, releases, simulated devices.",
)

json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print JSON for programs instead of text for people."
)

keyring_option = click.option(
    "--keyring",
    "keyring",
    type=PATH,
    envvar="CRYOFW_KEYRING",
    default=Path("keys.yaml"),
    show_default=True,
    show_envvar=True,
    help="Keyring file that names the keys.",
)

force_option = click.option("--force", is_flag=True, help="Overwrite files that exist.")

passphrase_option = click.option(
    "--passphrase-file",
    "passphrase_file",
    type=PATH,
    help="First line is the key's passphrase. [default: CRYOFW_PASSPHRASE, or ask]",
)

decryption_option = click.option(
    "--decryption-key",
    "decryption_key",
    type=PATH,
    envvar="CRYOFW_DECRYPTION_KEY",
    metavar="FILE",
    show_envvar=True,
    help="The devices' private key (PEM), for encrypted images.",
)
