"""How people name a release: `2.1.0`, `latest`, `cc40/2.1.0`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryofw.errors import UsageError
from cryofw.image import ImageError, Version

if TYPE_CHECKING:
    from collections.abc import Sequence

LATEST = "latest"


def parse_release(text: str, products: Sequence[str]) -> tuple[str, str]:
    """Product and version of `2.1.0`, `latest`, `cc40/2.1.0` or `cc40`.

    Raises:
        UsageError: it is no version, or leaves several products to choose from.
    """
    product, _, version = text.rpartition("/")
    if not product and text in products:
        product, version = text, LATEST
    if not product:
        if len(products) != 1:
            raise UsageError(
                f"which board's release {version}?",
                why=f"boards: {', '.join(products) or 'none'}",
                hint=f"write it as BOARD/{version}",
            )
        product = products[0]
    if version != LATEST:
        try:
            version = str(Version.parse(version))
        except ImageError as error:
            raise UsageError(
                f"{text!r} names no release", why=str(error), hint="such as 2.1.0 or latest"
            ) from error
    return product, version
