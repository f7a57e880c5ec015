"""One feature engine, two drivers: `replay` over history, `compute` and `observe` on stored states when scoring.

Pure Python without I/O or clock. Given the same events and labels in the same order both drivers give the same
vectors, bit for bit, whether or not states went through MongoDB in between.
"""

from services.features.catalogue import FEATURES, FEATURES_VERSION
from services.features.engine import compute, entity_keys, label_keys, observe, observe_label, step
from services.features.events import (
    LAKE_COLUMNS,
    Event,
    LabelEvent,
    epoch_ms,
    event_from_document,
    event_from_lake_row,
    events_from_columns,
    label_from_document,
)
from services.features.mapped import plan_of
from services.features.plan import Plan
from services.features.reasons import Reason, reasons
from services.features.replay import replay
from services.features.state import State, new_state
from services.features.wording import FeatureSpec

__all__ = [
    "FEATURES",
    "FEATURES_VERSION",
    "LAKE_COLUMNS",
    "Event",
    "FeatureSpec",
    "LabelEvent",
    "Plan",
    "Reason",
    "State",
    "compute",
    "entity_keys",
    "epoch_ms",
    "event_from_document",
    "event_from_lake_row",
    "events_from_columns",
    "label_from_document",
    "label_keys",
    "new_state",
    "observe",
    "observe_label",
    "plan_of",
    "reasons",
    "replay",
    "step",
]
