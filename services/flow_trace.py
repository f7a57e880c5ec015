"""Where the columns of a flow come from, so that a reason can be given in the words of its source."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from services.flow_steps import Flow, hot_name

if TYPE_CHECKING:
    from services.flow_sql import Columns

SAME, HOT, TARGET, PART, EXPRESSION = "same", "one_hot", "target", "part", "expression"


@dataclass(frozen=True, slots=True)
class Origin:
    """`source` is the input column (of an expression the column it makes); `how` one of the five words.

    `detail` is the category of a one-hot, the part of a date, the text of an expression.
    """

    source: str
    how: str = SAME
    detail: str = ""


def trace(flow: Flow, fits: Sequence[Mapping[str, Any]], layers: Sequence[Columns]) -> dict[str, Origin]:
    """The origin of every column that is there after the last step.

    Filling, clipping, logarithms, buckets and changes of type and name keep the origin: the words are those of the
    value that came in.
    """
    origins = {column: Origin(column) for column in flow.columns}
    for step, fit, layer in zip(flow.steps, fits, layers, strict=True):
        before, column = origins, step.column
        origins = {name: before[name] for name, _ in layer if name in before}
        source = before[column].source if column in before else column
        if step.do == "rename":
            origins[step.options["to"]] = before[column]
        elif step.do == "one_hot":
            origins |= {hot_name(column, c): Origin(source, HOT, c) for c in fit["categories"]}
        elif step.do == "target_encode":
            origins[step.options.get("to", column)] = Origin(source, TARGET)
        elif step.do == "date_parts":
            origins |= {f"{column}.{part}": Origin(source, PART, part) for part in step.options["parts"]}
        elif step.do == "expression":
            origins[step.options["to"]] = Origin(step.options["to"], EXPRESSION, step.options["sql"].strip())
    return origins
