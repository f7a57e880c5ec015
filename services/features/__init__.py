"""One feature engine, two drivers: a plan over whole columns (`Plan.matrix`), and the same plan one transaction at a
time on stored states (`Plan.compute`, `Plan.observe`).

Python and numpy without I/O or clock. Given the same transactions and labels in the same order both drivers give the
same numbers, bit for bit, whether or not states went through MongoDB in between. `plan_of` makes a plan of a mapping;
`DEMO` is the plan of the desk's own data.
"""

from services.features.inputs import Event, LabelEvent, epoch_ms
from services.features.mapped import DEMO, plan_of
from services.features.memory import State
from services.features.plan import Plan
from services.features.reasons import Reason, reasons
from services.features.replay import replay
from services.features.sources import (
    event_from_document,
    from_lake,
    label_from_document,
    lake_columns,
    needs_transaction,
)
from services.features.wording import FeatureSpec

# Those of the desk's own plan.
FEATURES, FEATURES_VERSION = DEMO.features, DEMO.version

__all__ = [
    "DEMO",
    "FEATURES",
    "FEATURES_VERSION",
    "Event",
    "FeatureSpec",
    "LabelEvent",
    "Plan",
    "Reason",
    "State",
    "epoch_ms",
    "event_from_document",
    "from_lake",
    "label_from_document",
    "lake_columns",
    "needs_transaction",
    "plan_of",
    "reasons",
    "replay",
]
