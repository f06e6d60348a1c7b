"""`cryofw schema`: the JSON Schema of fleet.yaml."""

from __future__ import annotations

import json

import click

from cryofw.cli.output import Output


@click.command()
def schema() -> None:
    """Print the JSON Schema of fleet.yaml, for editors and offline checks.

    An editor finds it through the first line of the file:

    \b
    # yaml-language-server: $schema=fleet.v1.schema.json
    """
    from cryofw.fleet import fleet_json_schema

    Output().line(json.dumps(fleet_json_schema(), indent=2, ensure_ascii=False))
