"""Whose data a stack holds: the demo's simulated world, or a company's own that a mapping file describes.

The first start on a folder decides, by FRAUD_DESK_MAPPING, and the folder remembers: simulated payments are never sent
to a desk with data of its own, and a desk with the demo's history is never read by somebody's mapping.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from embedded.state_folder import StateFolder, read_json
from services.domain.mapping import desk_mapping
from services.errors import ServiceError

VARIABLE = "FRAUD_DESK_MAPPING"


class OtherData(ServiceError):
    """The folder holds data of the other kind; the message says what to do."""


def decide(folder: StateFolder, env: Mapping[str, str]) -> dict[str, str | bool]:
    """{"own": whether the data are the company's, "mapping": absolute path, "" where there is none}. Writes nothing.

    Without the variable a folder goes on with the mapping that it was begun with; a file with `[dimensions]` alone
    leaves the demo a demo. Raises InvalidData for a mapping that cannot be used, and OtherData.
    """
    known = read_json(folder.data)
    if not isinstance(known, dict):
        known = {"own": False} if folder.seeded.exists() else {}  # made by a former version: it was the demo's
    named = env.get(VARIABLE) or known.get("mapping")
    path = Path(str(named)).expanduser().resolve() if named else None
    own = desk_mapping(path) is not None
    if known.get("own", own) != own:
        held = "data of its own" if known["own"] else "the demo's simulated payments"
        named = "a mapping of other data" if own else "no mapping of data"
        raise OtherData(
            f"The state folder {folder.path} holds {held} and {VARIABLE} names {named}: choose another folder with "
            "--state or FRAUD_DESK_STATE, or set the variable as it was. Nothing was changed."
        )
    return {"own": own, "mapping": str(path) if path else ""}
