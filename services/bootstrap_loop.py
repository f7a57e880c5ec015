"""The wiring of what watches over the loop and operates it: health, connectors, reconciliation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from services.adapters.iceberg import IcebergLake
from services.adapters.kafka_connect import KafkaConnect
from services.adapters.mongo.client import Db, connect
from services.adapters.mongo.controls import MongoControls
from services.adapters.mongo.reconciliation import MongoSource
from services.adapters.mongo.transactions import MongoStoreProbe
from services.adapters.mongo.workers import MongoStatusStore
from services.adapters.msk_connect import MskConnect
from services.connectors import ConnectApi, Connectors
from services.health import EndpointProbe, Health, TrainingProbe
from services.health_flow import LakeCounts
from services.reconciliation import Reconciliation
from services.settings import Settings

# A reconciliation reads much at once, and nobody waits for it in front of a screen.
_PATIENT_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Loop:
    health: Health
    connectors: Connectors
    reconciliation: Reconciliation
    close: Callable[[], None]


def build(
    settings: Settings,
    *,
    db: Db,
    pulse: Db,
    tables: IcebergLake,
    training: TrainingProbe,
    endpoint: EndpointProbe,
    read_seconds: float,
) -> Loop:
    """`pulse` is the connection that says soon that MongoDB does not answer."""
    connectors = Connectors(connect_api(settings, read_seconds), MongoControls(db))
    patient = connect(settings, timeout_seconds=_PATIENT_SECONDS, app="fraud-desk-reconciliation")
    patient_tables = IcebergLake(settings, patient=True)
    reconciliation = Reconciliation(MongoSource(patient), patient_tables)
    health = Health(
        statuses=MongoStatusStore(pulse),
        store=MongoStoreProbe(db),
        lake=LakeCounts(tables),
        training=training,
        endpoint=endpoint,
        connectors=connectors,
        pauses=MongoControls(pulse),
        place=MongoSource(pulse),
    )

    def close() -> None:
        reconciliation.close()
        patient_tables.close()
        patient.client.close()

    return Loop(health, connectors, reconciliation, close)


def connect_api(settings: Settings, read_seconds: float) -> ConnectApi | None:
    """One's own Kafka Connect where its address is set, else MSK Connect where names are, else nothing."""
    if settings.connect_url:
        return KafkaConnect(
            settings.connect_url,
            user=settings.connect_user,
            password=settings.connect_password,
            timeout_seconds=read_seconds,
        )
    if settings.connectors:
        return MskConnect(region=settings.region, prefix=settings.connectors, read_seconds=read_seconds)
    return None
