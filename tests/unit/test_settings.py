from __future__ import annotations

import pytest

from services.adapters.mongo.client import connect
from services.errors import Unavailable
from services.settings import MissingSettings, Settings

ENOUGH = {"MONGODB_URI": "mongodb://127.0.0.1:1", "FRAUD_DESK_BUCKET": "b"}


def test_everything_wrong_with_the_variables_is_said_at_once():
    with pytest.raises(MissingSettings) as refused:
        Settings.from_environment({"MONGODB_URI": "", "FRAUD_DESK_CURATOR_SECONDS": "soon"})
    for part in ("set MONGODB_URI", "set FRAUD_DESK_BUCKET", "FRAUD_DESK_CURATOR_SECONDS must be a number above 0"):
        assert part in refused.value.message


@pytest.mark.parametrize("number", ["0", "-1", "nan", "inf", "1e999", "five"])
def test_numbers_that_would_stop_or_spin_a_worker_are_refused(number):
    with pytest.raises(MissingSettings, match="FRAUD_DESK_STREAM_FLUSH_SECONDS"):
        Settings.from_environment(ENOUGH | {"FRAUD_DESK_STREAM_FLUSH_SECONDS": number})


def test_a_variable_set_to_nothing_counts_as_not_set():
    settings = Settings.from_environment(ENOUGH | {"FRAUD_DESK_DATABASE": "", "FRAUD_DESK_STREAM_FLUSH_EVENTS": ""})
    assert settings == Settings.from_environment(ENOUGH)
    assert (settings.database, settings.stream_flush_events) == ("fraud_desk", 5000)


@pytest.mark.parametrize(
    "changes",
    [
        {"MONGODB_URI": "postgres://desk:secret@db/x"},
        {"MONGODB_URI": "mongodb://desk:sec/ret@db"},
        {"MONGODB_URI": "mongodb://desk:secret@db:port"},
        {"FRAUD_DESK_DATABASE": "a.b"},
    ],
)
def test_an_address_that_is_none_is_a_sentence_without_the_password(changes):
    with pytest.raises(Unavailable) as refused:
        connect(Settings.from_environment(ENOUGH | changes))
    assert "sec" not in refused.value.message
    assert refused.value.__suppress_context__
