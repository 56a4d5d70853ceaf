"""The section `costs`: what the trial costs, per unit of what it uses. Changes no other result."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from trialsim.parts import Part
from trialsim.units import Quantity


def _money(amount: Quantity) -> Quantity:
    if amount.dimension in ("", "time", "rate"):
        raise PydanticCustomError("unit", "{text}", {"text": f"{amount} needs a currency, for example {amount.value:g} EUR"})
    if amount.value < 0:
        raise PydanticCustomError("cost", "{text}", {"text": f"{amount} is below 0"})
    return amount


Money = Annotated[Quantity, AfterValidator(_money)]


class Costs(Part):
    """Amounts with their currency."""

    per_patient: Money | None = Field(default=None, description="Per randomised patient.", examples=["20000 EUR"])
    per_visit: Money | None = Field(default=None, description="Per visit made.")
    per_site_month: Money | None = Field(default=None, description="Per site and month.")
    per_look: Money | None = Field(default=None, description="Per look.")
    fixed: Money | None = Field(default=None, description="Once.")
    currency: str | None = Field(default=None, description="The currency results are reported in.", examples=["EUR"])
