"""`cryofw keys`: generate keys and list the keyring."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from cryofw.cli.keychoice import new_passphrase
from cryofw.cli.newkey import add_key, add_public_key, add_token_key, check_name, default_algorithm
from cryofw.cli.options import PATH, json_option, keyring_option, passphrase_option
from cryofw.cli.output import Output, Status
from cryofw.errors import UsageError
from cryofw.image import Algorithm
from cryofw.keys import Purpose, load_keyring

if TYPE_CHECKING:
    from pathlib import Path

    from cryofw.keys import KeyEntry


@click.group()
def keys() -> None:
    """Generate and list signing keys; the keyring (keys.yaml) names them."""


@keys.command("generate", short_help="Make a key pair, and enter it.")
@click.argument("name")
@click.option(
    "--purpose",
    type=click.Choice([str(purpose) for purpose in Purpose]),
    required=True,
    help="What it will sign; a key serves one purpose.",
)
@click.option(
    "--algorithm",
    type=click.Choice([str(algorithm) for algorithm in Algorithm]),
    help="[default: ecdsa-p256 for images, ed25519 otherwise]",
)
@keyring_option
@passphrase_option
@click.option("--no-passphrase", is_flag=True, help="Leave the private key unencrypted.")
@json_option
def generate(
    name: str,
    purpose: str,
    algorithm: str | None,
    keyring: Path,
    passphrase_file: Path | None,
    no_passphrase: bool,
    as_json: bool,
) -> None:
    """Make a key pair named NAME and enter it into the keyring.

    The private half (keys/NAME.pem, mode 0600) is encrypted with a passphrase from
    --passphrase-file, CRYOFW_PASSPHRASE or a prompt, unless --no-passphrase is given.
    """
    check_name(name)
    chosen = Purpose(purpose)
    kind = Algorithm(algorithm) if algorithm else default_algorithm(chosen)
    passphrase = None if no_passphrase else new_passphrase(name, passphrase_file)
    entry = add_key(keyring, name, chosen, kind, passphrase)
    output = Output()
    if as_json:
        output.json(_as_json(entry))
        return
    locked = "encrypted" if passphrase else "not encrypted"
    output.status(Status.OK, "generated", f"{name}: {kind} for purpose {purpose}, {locked}")
    output.line(f"  fingerprint {entry.public_key.key_hash.hex()}")
    private = keyring.parent / entry.uri.removeprefix("file:")
    output.line(f"  entered into {keyring}; keep {private} secret")


@keys.command("add", short_help="Enter a key that was made elsewhere.")
@click.argument("name")
@click.option("--uri", help="Where the private half is: pkcs11:token=...;object=...")
@click.option(
    "--public", type=PATH, metavar="FILE", help="The public half (PEM) of somebody else's key."
)
@click.option(
    "--purpose",
    type=click.Choice([str(purpose) for purpose in Purpose]),
    required=True,
    help="What it will sign; a key serves one purpose.",
)
@keyring_option
@json_option
def add(
    name: str, uri: str | None, public: Path | None, purpose: str, keyring: Path, as_json: bool
) -> None:
    """Enter a key that was made elsewhere into the keyring, as NAME.

    With --uri one that lies in a PKCS#11 token. The public half is read from it, without a PIN,
    and kept in keys/NAME.pub.pem. The private half stays where it is; when it signs, its PIN
    comes from the URI's pin-source, from CRYOFW_PIN_NAME or CRYOFW_PIN, or from a prompt. It is
    tried once.

    With --public the key of somebody else, such as a root holder or a witness: it verifies here,
    and signs where its private half is.
    """
    if (uri is None) == (public is None):
        raise UsageError("where is the key?", hint="--uri pkcs11:..., or --public FILE")
    if public is not None:
        entry = add_public_key(keyring, name, Purpose(purpose), public)
    elif uri is not None and uri.startswith("pkcs11:"):
        entry = add_token_key(keyring, name, Purpose(purpose), uri)
    else:
        raise UsageError(
            f"cannot read the public half of {uri}",
            why="only pkcs11: keys show it",
            hint="write the entry with `public:` into the keyring yourself; keys.example shows it",
        )
    output = Output()
    if as_json:
        output.json(_as_json(entry))
        return
    output.status(Status.OK, "added", f"{name}: {entry.algorithm} for purpose {purpose}")
    output.line(f"  fingerprint {entry.public_key.key_hash.hex()}")
    output.line(f"  entered into {keyring}; its public half is keys/{name}.pub.pem")


@keys.command("list", short_help="List the keys of the keyring.")
@keyring_option
@json_option
def list_keys(keyring: Path, as_json: bool) -> None:
    """List the keys of the keyring; the fingerprint is the KEYHASH of images they sign."""
    entries = load_keyring(keyring).entries.values()
    output = Output()
    if as_json:
        output.json([_as_json(entry) for entry in entries])
        return
    output.table(
        ["name", "purpose", "algorithm", "fingerprint", "uri"],
        [
            [e.name, e.purpose, e.algorithm, e.public_key.key_hash.hex()[:16], e.uri]
            for e in entries
        ],
    )


def _as_json(entry: KeyEntry) -> dict[str, str]:
    return {
        "name": entry.name,
        "purpose": str(entry.purpose),
        "algorithm": str(entry.algorithm),
        "fingerprint": entry.public_key.key_hash.hex(),
        "uri": entry.uri,
    }
