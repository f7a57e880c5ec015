"""Kafka (MSK): records out with an idempotent producer, records in as one member of a consumer group.

Invariants: what `Sender.flush` returned for is on the brokers; a receiver commits only what it is told to.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

from confluent_kafka import (
    OFFSET_BEGINNING,
    TIMESTAMP_NOT_AVAILABLE,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    Producer,
    TopicPartition,
)

from services.errors import HistoryLost, InvalidData, Unavailable

log = logging.getLogger(__name__)

_DEPENDENCY = "Kafka"
# Documents have up to 16 MB, which as JSON can be more. The broker's own limit decides.
_MAX_MESSAGE_BYTES = 64 * 1024 * 1024
_DELIVERY_SECONDS = 20.0
_CALL_SECONDS = 10.0
_CREDENTIALS = {
    KafkaError._AUTHENTICATION,
    KafkaError.SASL_AUTHENTICATION_FAILED,
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.GROUP_AUTHORIZATION_FAILED,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
}
_UNREACHABLE = {
    KafkaError._TRANSPORT,
    KafkaError._ALL_BROKERS_DOWN,
    KafkaError._TIMED_OUT,
    KafkaError._MSG_TIMED_OUT,
    KafkaError._RESOLVE,
    KafkaError._PURGE_QUEUE,
    KafkaError._PURGE_INFLIGHT,
    KafkaError._UNKNOWN_PARTITION,
    KafkaError._UNKNOWN_TOPIC,
    KafkaError.UNKNOWN_TOPIC_OR_PART,
}
_NO_TOPIC = {KafkaError._UNKNOWN_TOPIC, KafkaError.UNKNOWN_TOPIC_OR_PART}
# The group gave our partitions to somebody else; what was not committed is theirs to read.
_MEMBERSHIP = {
    KafkaError.ILLEGAL_GENERATION,
    KafkaError.UNKNOWN_MEMBER_ID,
    KafkaError.REBALANCE_IN_PROGRESS,
    KafkaError._STATE,
    KafkaError._NO_OFFSET,
}


@dataclass(frozen=True, slots=True)
class Cluster:
    """Where Kafka is: `bootstrap` as host:port,host:port; `iam` signs in to MSK with the AWS credentials in force."""

    bootstrap: str
    region: str
    iam: bool = False

    def configuration(self) -> dict[str, Any]:
        """What producers and consumers have in common."""
        common: dict[str, Any] = {"bootstrap.servers": self.bootstrap, "client.id": "fraud-desk", "log_level": 3}
        if self.iam:
            common |= {"security.protocol": "SASL_SSL", "sasl.mechanism": "OAUTHBEARER", "oauth_cb": self._token}
        return common

    def _token(self, _configuration: str) -> tuple[str, float]:
        """A signed token and when it ends, in seconds since the epoch; asked for again before that."""
        from aws_msk_iam_sasl_signer import MSKAuthTokenProvider

        token, expires_ms = MSKAuthTokenProvider.generate_auth_token(self.region)
        return token, expires_ms / 1000


class Record(NamedTuple):
    """One record of a partition. `at` is when it was produced, as far as Kafka knows."""

    topic: str
    partition: int
    offset: int
    value: bytes | None
    at: datetime


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except KafkaException as error:
        raise _service_error(error.args[0]) from error


def _service_error(error: KafkaError) -> Exception:
    """The desk's error; what nobody here understands stays Kafka's own."""
    code = error.code()
    if code in _CREDENTIALS:
        return Unavailable(f"Kafka refused the desk's credentials: {error.str()}", dependency=_DEPENDENCY)
    if code in _UNREACHABLE or error.retriable():
        return Unavailable(f"Kafka is not reachable ({error.name()}).", dependency=_DEPENDENCY)
    return KafkaException(error)


class Sender:
    """One idempotent producer: retries neither double nor reorder the records of a partition."""

    def __init__(self, cluster: Cluster) -> None:
        self._producer = Producer(
            cluster.configuration()
            | {
                "enable.idempotence": True,
                "partitioner": "murmur2_random",  # where Java's clients put the same key
                "compression.type": "lz4",
                "linger.ms": 20,
                "message.max.bytes": _MAX_MESSAGE_BYTES,
                "message.timeout.ms": int(_DELIVERY_SECONDS * 1000),
                "queue.buffering.max.kbytes": 128 * 1024,
            }
        )
        self._failed: tuple[KafkaError, str, int] | None = None

    def partitions(self, topic: str) -> int:
        """How many the topic has. A topic is created where the brokers allow that."""
        with _translated():
            self._producer.poll(0)
            known = self._producer.list_topics(topic, timeout=_CALL_SECONDS).topics[topic]
            if known.error is not None:
                raise KafkaException(known.error)
            return len(known.partitions)

    def send(self, topic: str, key: bytes | None, value: bytes, *, partition: int | None = None) -> None:
        """Hand over one record; it is on the brokers when `flush` has returned."""
        pinned: dict[str, Any] = {} if partition is None else {"partition": partition}
        while True:
            try:
                with _translated():
                    self._producer.produce(topic, value, key, on_delivery=self._delivered, **pinned)
                break
            except BufferError:
                self._producer.poll(0.1)
                self._raise_failure()
        self._producer.poll(0)

    def flush(self, waiting: Callable[[], None] = lambda: None) -> None:
        """Wait for every delivery report; `waiting` is called every second.

        Raises Unavailable when a record did not arrive, InvalidData when the brokers refuse its size.
        """
        while self._producer.flush(1.0) > 0:
            waiting()
            self._raise_failure()
        self._raise_failure()

    def close(self) -> None:
        """Give up what is still on its way."""
        self._producer.purge()
        self._producer.flush(1.0)

    def _delivered(self, error: KafkaError | None, message: Message) -> None:
        if error is not None and self._failed is None:
            self._failed = (error, message.topic() or "", len(message.value() or b""))

    def _raise_failure(self) -> None:
        if self._failed is None:
            return
        error, topic, size = self._failed
        if error.code() == KafkaError.MSG_SIZE_TOO_LARGE:
            raise InvalidData(
                f"Kafka refused a record of {size:,} bytes. Nothing was skipped: raise max.message.bytes of the topic "
                f"{topic} and of the brokers, then start the stream again."
            )
        raise _service_error(error)


class Receiver:
    """One member of a consumer group. Used by one thread; `on_revoked` is called within `receive`."""

    def __init__(
        self,
        cluster: Cluster,
        group: str,
        topics: Sequence[str],
        *,
        on_revoked: Callable[[Sequence[tuple[str, int]], bool], None],
        after_gap: bool = False,
    ) -> None:
        """`on_revoked(partitions, lost)`: they go to another member now; when `lost`, they already went.

        `after_gap`: begin at the oldest record where those since the committed place are gone.
        """
        self._on_revoked, self._after_gap = on_revoked, after_gap
        self._consumer = Consumer(
            cluster.configuration()
            | {
                "group.id": group,
                "enable.auto.commit": False,
                "auto.offset.reset": "error",  # never skip quietly
                "partition.assignment.strategy": "range",
                "session.timeout.ms": 10_000,
                "heartbeat.interval.ms": 1_000,
                "topic.metadata.refresh.interval.ms": 10_000,
                "fetch.message.max.bytes": _MAX_MESSAGE_BYTES,
                "queued.max.messages.kbytes": 32 * 1024,
            }
        )
        self._consumer.subscribe(list(topics), on_assign=self._assigned, on_revoke=self._revoked, on_lost=self._lost)

    def receive(self, most: int, seconds: float) -> list[Record]:
        """What came within `seconds`, at most `most` records, each partition in order.

        Raises Unavailable, or HistoryLost when Kafka no longer has the records since the committed place.
        """
        with _translated():
            messages = self._consumer.consume(most, seconds)
        records = []
        for message in messages:
            error = message.error()
            if error is None:
                records.append(_record(message))
            elif error.code() in (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE):
                raise _gone(f"{message.topic()} partition {message.partition()}")
            elif error.code() in _NO_TOPIC:
                log.warning("kafka.no_topic %s: it is read as soon as there is one", message.topic())
            elif error.code() != KafkaError._PARTITION_EOF:
                raise _service_error(error)
        return records

    def commit(self, offsets: Mapping[tuple[str, int], int]) -> None:
        """Never to be read again below these. Partitions that meanwhile went to another member are left to it."""
        places = [TopicPartition(topic, partition, offset) for (topic, partition), offset in offsets.items()]
        try:
            self._consumer.commit(offsets=places, asynchronous=False)
        except KafkaException as error:
            if error.args[0].code() not in _MEMBERSHIP:
                raise _service_error(error.args[0]) from error

    def close(self) -> None:
        self._consumer.close()

    def _assigned(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        placed = consumer.committed(partitions, timeout=_CALL_SECONDS) if partitions else []
        for place in placed:
            if place.error is not None:
                raise KafkaException(place.error)
            oldest, _ = consumer.get_watermark_offsets(place, timeout=_CALL_SECONDS)
            if 0 <= place.offset < oldest and not self._after_gap:
                raise _gone(f"{place.topic} partition {place.partition}, offsets {place.offset} to {oldest - 1}")
            if place.offset < oldest:
                place.offset = OFFSET_BEGINNING
        consumer.assign(placed)

    def _revoked(self, _consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._on_revoked([(place.topic, place.partition) for place in partitions], False)

    def _lost(self, _consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._on_revoked([(place.topic, place.partition) for place in partitions], True)


def _record(message: Message) -> Record:
    topic, partition, offset = message.topic(), message.partition(), message.offset()
    assert topic is not None, "a record without error has a place"
    assert partition is not None
    assert offset is not None
    kind, at = message.timestamp()
    when = datetime.now(UTC) if kind == TIMESTAMP_NOT_AVAILABLE else datetime.fromtimestamp(at / 1000, UTC)
    return Record(topic, partition, offset, message.value(), when)


def _gone(what: str) -> HistoryLost:
    return HistoryLost(
        f"Kafka no longer has records that were not stored yet ({what}). Nothing was skipped. Start this once with "
        "--after-gap, and copy every document again with: python -m services backfill --to kafka"
    )
