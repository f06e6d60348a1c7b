"""What every model of fleet.yaml is made of: strictness, and values with their units."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from cryofw.fleet import quantity


def _quantity(dimension: quantity.Dimension) -> WithJsonSchema:
    return WithJsonSchema(
        {"type": "string", "pattern": dimension.pattern, "examples": [dimension.example]}
    )


Duration = Annotated[float, BeforeValidator(quantity.DURATION.read), _quantity(quantity.DURATION)]
Pause = Annotated[float, BeforeValidator(quantity.PAUSE.read), _quantity(quantity.PAUSE)]
Power = Annotated[float, BeforeValidator(quantity.POWER.read), _quantity(quantity.POWER)]
Temperature = Annotated[
    float, BeforeValidator(quantity.TEMPERATURE.read), _quantity(quantity.TEMPERATURE)
]
Slope = Annotated[float, BeforeValidator(quantity.SLOPE.read), _quantity(quantity.SLOPE)]
Share = Annotated[float, BeforeValidator(quantity.read_share), _quantity(quantity.PERCENT)]
Size = Annotated[int, BeforeValidator(quantity.read_size), _quantity(quantity.SIZE)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
SettingName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*$", max_length=64)]
Text = Annotated[str, Field(min_length=1, max_length=200)]
Number = Annotated[float, Field(allow_inf_nan=False, ge=-1e12, le=1e12)]
PositiveNumber = Annotated[float, Field(allow_inf_nan=False, gt=0, le=1e12)]
Command = Annotated[list[Text], Field(min_length=1, max_length=100)]


class StrictDocument(BaseModel):
    """Strict: no unknown key, no value of another type, nothing changed after reading."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, title=None)
