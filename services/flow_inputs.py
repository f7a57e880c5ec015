"""What a flow may read of a transaction beside its features: the same values from the lake and from a document.

Text is as it came (None where absent); an attribute that is a number or true/false is its JSON text, anything larger
is absent. `event_time` is in UTC with milliseconds. What is only known after the verdict, or is made by the model
that is to be replaced, is no input: LATER says which columns of the lake those are and why.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa

from services.features import epoch_ms

TIME = "event_time"
ATTRIBUTES = "attributes."
# Column -> where it stands in a document of `transactions`. The lake calls it the same.
RAW: Mapping[str, tuple[str, ...]] = {
    TIME: ("event_time",),
    "currency": ("currency",),
    "channel": ("channel",),
    "entry_mode": ("entry_mode",),
    "category": ("merchant", "category"),
    "mcc": ("merchant", "mcc"),
    "merchant_country": ("merchant", "country"),
    "home_country": ("customer", "home_country"),
    "segment": ("customer", "segment"),
    "card_network": ("card", "network"),
    "card_type": ("card", "type"),
    "issuer_country": ("card", "issuer_country"),
    "email_domain": ("device", "email_domain"),
    "user_agent_family": ("device", "user_agent_family"),
}
LATER: Mapping[str, str] = {
    "label": "the verdict itself",
    "label_source": "known with the verdict",
    "labelled_at": "known with the verdict",
    "alert_status": "changed by the verdict",
    "alert_opened_at": "made by the model that is to be replaced",
    "score": "made by the model that is to be replaced",
    "decision": "made by the model that is to be replaced",
    "model_version": "made by the model that is to be replaced",
    "review_threshold": "made by the model that is to be replaced",
    "scored_at": "made by the model that is to be replaced",
}


def lake_columns(raw: Iterable[str]) -> list[str]:
    """The columns of the lake that hold these inputs, with the transaction's id, each once and in a fixed order."""
    wanted = {"attributes" if name.startswith(ATTRIBUTES) else name for name in raw}
    return ["transaction_id", *sorted(wanted)]


def from_documents(documents: Sequence[Mapping[str, Any]], raw: Sequence[str]) -> dict[str, pa.Array]:
    """Raw inputs of documents of `transactions`, in their order."""
    columns = {}
    for name in raw:
        if name.startswith(ATTRIBUTES):
            key = name.removeprefix(ATTRIBUTES)
            values: list[Any] = [_text((document.get("attributes") or {}).get(key)) for document in documents]
        else:
            values = [_at(document, RAW[name]) for document in documents]
        columns[name] = _array(name, values)
    return columns


def from_lake(rows: pa.Table, raw: Sequence[str]) -> dict[str, pa.Array]:
    """The same of rows of the lake with `lake_columns(raw)`."""
    held = [json.loads(text) if text else {} for text in rows["attributes"].to_pylist()] if _attributes(raw) else []
    columns = {}
    for name in raw:
        if name.startswith(ATTRIBUTES):
            key = name.removeprefix(ATTRIBUTES)
            columns[name] = _array(name, [_text(item.get(key)) for item in held])
        else:
            columns[name] = _array(name, rows[name].to_pylist())
    return columns


def attribute_names(rows: pa.Table, limit: int = 60) -> list[str]:
    """`attributes.<name>` of plain values found in the lake's rows, most frequent first (ties by name)."""
    counts: dict[str, int] = {}
    for text in rows["attributes"].to_pylist():
        for key, value in (json.loads(text) if text else {}).items():
            if _text(value) is not None:
                counts[key] = counts.get(key, 0) + 1
    return [ATTRIBUTES + key for key in sorted(counts, key=lambda key: (-counts[key], key))[:limit]]


def table(
    columns: Sequence[str], features: Mapping[str, int], matrix: np.ndarray, raw: Mapping[str, pa.Array]
) -> pa.Table:
    """A flow's input: `columns` of n rows, features as float64 of the float32 a model sees, null where missing.

    `features` says which column of `matrix` [n, f] a feature is. KeyError for a column that is in neither.
    """
    arrays = []
    for name in columns:
        if name in features:
            values = np.asarray(matrix)[:, features[name]].astype(np.float32).astype(np.float64)
            arrays.append(pa.array(values, pa.float64(), from_pandas=True))
        else:
            arrays.append(raw[name])
    return pa.Table.from_arrays(arrays, names=list(columns))


def places(columns: Sequence[str]) -> dict[str, int]:
    """Which column of a matrix each name is."""
    return {column: place for place, column in enumerate(columns)}


def is_raw(name: str) -> bool:
    return name in RAW or name.startswith(ATTRIBUTES)


def _attributes(raw: Sequence[str]) -> bool:
    return any(name.startswith(ATTRIBUTES) for name in raw)


def _array(name: str, values: list[Any]) -> pa.Array:
    if name != TIME:
        return pa.array(values, pa.string())
    stamps = [epoch_ms(v if v.tzinfo else v.replace(tzinfo=UTC)) if isinstance(v, datetime) else v for v in values]
    return pa.array(stamps, pa.int64()).cast(pa.timestamp("ms"))


def _at(document: Mapping[str, Any], path: Sequence[str]) -> Any:
    value: Any = document
    for part in path:
        value = (value or {}).get(part)
    return value


def _text(value: Any) -> str | None:
    if isinstance(value, str):
        return value
    return json.dumps(value) if isinstance(value, bool | int | float) else None
