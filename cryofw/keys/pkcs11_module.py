"""Finding and loading a PKCS#11 library (the "module"), by way of python-pkcs11."""

from __future__ import annotations

import os
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING

from cryofw.keys.errors import KeyringError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pkcs11._pkcs11 import lib as Module  # noqa: N812  # its type has a function's name

    from cryofw.keys.pkcs11_uri import Pkcs11Uri

MODULE_VARIABLE = "CRYOFW_PKCS11_MODULE"
_FOLDERS = ("pkcs11", "softhsm", "")


def find_module(uri: Pkcs11Uri, directory: Path) -> Path:
    """Return the file of the library that talks to the token.

    It is what the URI says, else what CRYOFW_PKCS11_MODULE says.

    Args:
        uri: of the key.
        directory: of the keyring; a relative module-path starts there.

    Raises:
        KeyringError: none is named, or it is not there.
    """
    if uri.module_path is not None:
        return _existing(directory / uri.module_path, "module-path of the URI")
    if uri.module_name is not None:
        return _by_name(uri.module_name)
    named = os.environ.get(MODULE_VARIABLE)
    if named:
        return _existing(Path(named), MODULE_VARIABLE)
    raise KeyringError(
        f"nothing says which PKCS#11 module talks to the token of {uri.text}",
        hint=f"add ?module-name=softhsm2 or ?module-path=FILE.so to the URI, "
        f"or set {MODULE_VARIABLE}",
    )


def load_module(path: Path) -> Module:
    """Load and initialise a library; one that is loaded already is returned again.

    Raises:
        KeyringError: python-pkcs11 is not installed, or the file is no PKCS#11 library.
    """
    try:
        import pkcs11
    except ImportError as error:
        raise KeyringError(
            "keys in tokens need python-pkcs11, which is not installed",
            why=str(error),
            hint="pip install 'cryofw[hsm]'",
        ) from error
    try:
        return pkcs11.lib(str(path))
    except pkcs11.PKCS11Error as error:
        raise KeyringError(
            f"cannot load the PKCS#11 module {path}",
            why=str(error) or type(error).__name__,
            hint="`pkcs11-tool --module FILE -L` (Debian: opensc) shows whether it works at all",
        ) from error


def _existing(path: Path, source: str) -> Path:
    if not path.is_file():
        raise KeyringError(
            f"the PKCS#11 module {path} is not there",
            why=f"{source} names it",
            hint="install the token's software; Debian's SoftHSM (softhsm2) is "
            "/usr/lib/softhsm/libsofthsm2.so",
        )
    return path.resolve()


def _by_name(name: str) -> Path:
    candidates = list(_candidates(name))
    found = next((path for path in candidates if path.is_file()), None)
    if found is None:
        raise KeyringError(
            f"no PKCS#11 module {name!r} on this computer",
            why=f"looked for lib{name}.so and {name}.so in "
            f"{', '.join(sorted({str(path.parent) for path in candidates}))}",
            hint="install the token's software, or name the file: module-path=FILE.so",
        )
    return found.resolve()


def _candidates(name: str) -> Iterator[Path]:
    triplet = sysconfig.get_config_var("MULTIARCH") or ""
    roots = [
        Path("/usr/lib", triplet),
        Path("/usr/lib"),
        Path("/usr/lib64"),
        Path("/usr/local/lib"),
    ]
    for root in dict.fromkeys(roots):
        for folder in _FOLDERS:
            yield root / folder / f"lib{name}.so"
            yield root / folder / f"{name}.so"
