"""Load with a memory: what was sent through the front door, and what was acknowledged.

Like a processor, it sends the same batch again until it is told that every record is kept or known. Reports of fraud go
the same way, verdicts through the desk's own service.
"""

from __future__ import annotations

import json
import random
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

from services.access import Actor, Role
from services.adapters import aws
from services.cases import Cases
from services.domain.states import LabelValue
from services.errors import Conflict, ServiceError, Unavailable
from services.intake import Intake
from services.transactions import Transactions
from services.worker_status import utc_now

ANALYST = Actor("fault-analyst", "Fay Analyst", Role.ANALYST)
BATCH, PAUSE_SECONDS = 10, 0.5
_MERCHANTS = (
    ("groceries", "5411", "DE"),
    ("electronics", "5732", "US"),
    ("travel", "4722", "BR"),
    ("cash", "6011", "GB"),
)
_HOME, _FAR = {"lon": 13.4, "lat": 52.5}, {"lon": -46.6, "lat": -23.5}


class Load:
    """20 transactions a second while started; `finish` waits until all of it is acknowledged."""

    def __init__(
        self, transactions: Transactions, cases: Cases, intake: Intake, *, region: str, function: str, seed: int
    ) -> None:
        self._transactions, self._cases, self._intake, self._function = transactions, cases, intake, function
        self._lambda = aws.client("lambda", region=region, read_seconds=5.0, attempts=1)
        self._rng = random.Random(seed)
        self._stop, self._abandoned = threading.Event(), threading.Event()
        self._pool: ThreadPoolExecutor | None = None
        self._work: list[Any] = []
        self._number = 0
        self.sent: dict[str, dict[str, Any]] = {}
        self.acknowledged: set[str] = set()
        self.reported: set[str] = set()
        self.decided: dict[str, LabelValue] = {}
        self.attempts = 0

    def start(self) -> None:
        self._stop.clear()
        self._pool = ThreadPoolExecutor(2, thread_name_prefix="load")
        self._work = [self._pool.submit(self._send), self._pool.submit(self._decide)]

    def finish(self, seconds: float = 60.0) -> None:
        """End the load; what is under way goes on until it is acknowledged."""
        self._stop.set()
        for work in self._work:
            work.result(seconds)
        assert self._pool is not None
        self._pool.shutdown()
        assert self.acknowledged == self.sent.keys()

    def put_past_the_front_door(self) -> None:
        """One transaction straight into the store, for the time that the sender waits at a closed door."""
        record = self._record()
        self.sent[record["transaction_id"]] = record
        assert self._intake.submit([record], received_at=utc_now()).accepted == 1
        self.acknowledged.add(record["transaction_id"])

    def abandon(self) -> None:
        """End the load whatever is not acknowledged: something failed already."""
        self._abandoned.set()
        self._stop.set()
        assert self._pool is not None
        self._pool.shutdown()

    # Through the front door

    def _send(self) -> None:
        while not self._stop.is_set():
            records = [self._record() for _ in range(BATCH)]
            reports = self._reports()
            for record in records:
                self.sent[record["transaction_id"]] = record
            self._until_known({"transactions": records} | ({"reports": reports} if reports else {}))
            self.acknowledged.update(record["transaction_id"] for record in records)
            self.reported.update(f"{report['transaction_id']}:{report['source']}" for report in reports)
            self._stop.wait(PAUSE_SECONDS)

    def _until_known(self, event: dict[str, Any]) -> None:
        """The same batch again until the front door says that it has all of it, whoever was down meanwhile."""
        count = len(event["transactions"]) + len(event.get("reports", ()))
        while not self._abandoned.is_set():
            self.attempts += 1
            try:
                with aws.translated("the front door"):
                    answer = self._lambda.invoke(FunctionName=self._function, Payload=json.dumps(event).encode())
                    with answer["Payload"] as reply:
                        body = json.loads(reply.read())
            except ServiceError:
                threading.Event().wait(0.3)
                continue
            if not answer.get("FunctionError") and body["statusCode"] in (200, 207):
                assert body["body"]["accepted"] + body["body"]["duplicates"] == count, body
                return
            threading.Event().wait(0.3)

    def _record(self) -> dict[str, Any]:
        rng = self._rng
        self._number += 1
        customer, shop = rng.randrange(12), rng.randrange(len(_MERCHANTS))
        category, mcc, country = _MERCHANTS[shop]
        wild = rng.random() < 0.2  # far from home, much money, a device nobody knows
        return {
            "transaction_id": f"fault-{self._number:06d}",
            "event_time": (utc_now() - timedelta(milliseconds=rng.randrange(2000))).isoformat(),
            "amount_minor": rng.randrange(80_000, 400_000) if wild else rng.randrange(200, 12_000),
            "currency": "EUR",
            "exponent": 2,
            "customer_id": f"fault-c{customer}",
            "customer": {"home_country": "DE", "home": _HOME, "segment": "retail"},
            "card": {"token": f"fault-tok-{customer}", "bin": "431940", "last4": f"{customer:04d}", "network": "visa",
                     "type": "credit", "issuer_country": "DE"},
            "merchant": {"id": f"fault-m{shop}", "name": f"Fault Shop {shop}", "mcc": mcc, "category": category,
                         "country": country, "location": _FAR if wild else _HOME},
            "terminal_id": f"fault-t{shop}",
            "channel": "ecom",
            "entry_mode": "keyed" if wild else "stored",
            "device": {"id": f"fault-d{self._number if wild else customer}", "ip": "198.51.100.7"},
        }  # fmt: skip

    def _reports(self) -> list[dict[str, Any]]:
        free = sorted(self.acknowledged - {label.partition(":")[0] for label in self.reported})
        if not free or self._rng.random() < 0.4:
            return []
        source = self._rng.choice(["chargeback", "customer"])
        return [{"transaction_id": self._rng.choice(free), "value": "fraud", "source": source,
                 "reported_at": utc_now().isoformat()}]  # fmt: skip

    # Through the desk

    def _decide(self) -> None:
        """About one verdict a second on one of our own, sent again after a lost reply as the page's button would."""
        rng = random.Random(self._rng.random())
        taken: set[str] = set()
        while not self._stop.wait(0.8):
            free = sorted(self.acknowledged - taken)
            if not free:
                continue
            identifier, value = rng.choice(free), rng.choice(list(LabelValue))
            taken.add(identifier)
            try:
                version = self._transactions.get(identifier).version
            except Unavailable:
                continue
            self._decide_surely(identifier, value, version)

    def _decide_surely(self, identifier: str, value: LabelValue, version: int) -> None:
        while not self._abandoned.is_set():
            try:
                done = self._cases.decide(identifier, value, note="under load", expected_version=version, actor=ANALYST)
            except Unavailable:
                threading.Event().wait(0.5)
                continue
            except Conflict:
                return  # scored or reported in between: nothing was saved, and nothing is owed
            self.decided[done.label_id] = value
            return
