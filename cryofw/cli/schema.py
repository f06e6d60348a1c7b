"""`cryofw schema`: the JSON Schemas of the files that people write."""

from __future__ import annotations

import json

import click

from cryofw.cli.output import Output


@click.command()
@click.argument(
    "document",
    type=click.Choice(["fleet", "coefficients", "policy", "scenario"]),
    default="fleet",
    required=False,
)
def schema(document: str) -> None:
    """Print a JSON Schema, for editors and offline checks: of fleet.yaml, of a file of
    COEFFICIENTS, of a POLICY, or of a SCENARIO of a game day.

    An editor finds it through the first line of the file:

    \b
    # yaml-language-server: $schema=fleet.v1.schema.json
    """
    if document == "coefficients":
        from cryofw.release.coefficients_schema import coefficients_json_schema as json_schema
    elif document == "policy":
        from cryofw.trust import policy_json_schema as json_schema
    elif document == "scenario":
        from cryofw.gameday.scenario import scenario_json_schema as json_schema
    else:
        from cryofw.fleet import fleet_json_schema as json_schema

    Output().line(json.dumps(json_schema(), indent=2, ensure_ascii=False))
