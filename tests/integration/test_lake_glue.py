"""The lake in a Glue catalog (moto's, in this process), its files in the real S3 server."""

from __future__ import annotations

from dataclasses import replace

import boto3
import pytest
from moto import mock_aws

from services.errors import Conflict
from services.lake_schema import TRANSACTIONS_TABLE
from services.settings import Settings
from tests.integration.lake_desk import Desk, line, transaction


def test_in_glue_tables_are_made_written_read_and_guarded_as_in_sql(
    settings: Settings, s3_endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with mock_aws(config={"core": {"mock_credentials": False, "passthrough": {"services": ["s3"]}}}):
        desk = Desk(replace(settings, catalog_uri="glue"))
        desk.put([line(transaction("a"), 0), line(transaction("b", day=1), 1)], 0)
        desk.fold()
        first = desk.lake.snapshot()
        desk.put([line(transaction("a", version=2), 2, operation="update", seconds=5)], 2)
        desk.fold()
        assert {key: row["version"] for key, row in desk.rows().items()} == {"a": 2, "b": 1}
        assert {key: row["version"] for key, row in desk.rows(first).items()} == {"a": 1, "b": 1}
        state = desk.tables.state("transactions")
        assert state is not None
        empty = [([], TRANSACTIONS_TABLE.schema.empty_table())]
        desk.tables.replace("transactions", empty, {"x": 1}, expected_snapshot=state.snapshot_id)
        with pytest.raises(Conflict):
            desk.tables.replace("transactions", empty, {"x": 2}, expected_snapshot=state.snapshot_id)
        glue = boto3.client("glue", region_name=settings.region)
        tables = glue.get_tables(DatabaseName="fraud")["TableList"]
        assert {table["Name"] for table in tables} == {"transactions", "labels", "rates_hourly"}
        assert {table["Parameters"]["table_type"] for table in tables} == {"ICEBERG"}
        desk.tables.close()
        desk.reader.close()
