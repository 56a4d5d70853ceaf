"""The section `analyses`: every method, combined with what it may say about its looks; told apart by `method`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Union, cast

from pydantic import Field, create_model

from trialsim.analysis import METHODS, Analysis
from trialsim.conduct import Monitoring


def _monitored(method: type[Analysis]) -> type[Analysis]:
    base: Any = (Monitoring, method)
    made: Any = create_model(f"Monitored{method.__name__}", __base__=base, __module__=__name__, __doc__=method.__doc__)
    return cast(type[Analysis], made)


MONITORED: tuple[type[Analysis], ...] = tuple(_monitored(method) for method in METHODS)
# By name in this module, so that instances can be pickled.
globals().update({model.__name__: model for model in MONITORED})

if TYPE_CHECKING:

    class AnyAnalysis(Monitoring, Analysis):
        method: str
else:
    AnyAnalysis = Annotated[Union[MONITORED], Field(discriminator="method")]  # noqa: UP007  (built from a tuple)
