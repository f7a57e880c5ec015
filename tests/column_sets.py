"""Small files with the columns of well-known data sets, made here; `mappings/` has a mapping for each."""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from services.domain.mapping import Mapping, read_mapping

ROOT = Path(__file__).parents[1]
START = datetime(2024, 3, 1)


def mapping(name: str) -> Mapping:
    return read_mapping(ROOT / "mappings" / f"{name}.toml")


def rows(name: str, count: int, *, seed: int = 7) -> list[dict[str, Any]]:
    """Rows in the order of time."""
    chance = random.Random(f"{name}:{seed}")
    make = {"handbook": _handbook, "paysim": _paysim, "sparkov": _sparkov, "ieee_cis": _ieee_cis}[name]
    return [make(number, START + timedelta(minutes=7 * number), chance) for number in range(count)]


def csv_of(records: list[dict[str, Any]]) -> str:
    lines = [",".join(records[0])]
    lines += [",".join(f'"{v}"' if "," in str(v) else "" if v is None else str(v) for v in r.values()) for r in records]
    return "\n".join(lines) + "\n"


def write(path: Path, name: str, count: int, *, seed: int = 7) -> Path:
    path.write_text(csv_of(rows(name, count, seed=seed)))
    return path


def _handbook(n: int, at: datetime, chance: random.Random) -> dict[str, Any]:
    fraud = int(chance.random() < 0.05)
    return {
        "TRANSACTION_ID": n, "TX_DATETIME": at, "CUSTOMER_ID": chance.randrange(40),
        "TERMINAL_ID": chance.randrange(60),
        "TX_AMOUNT": round(chance.uniform(1, 300), 2), "TX_TIME_SECONDS": n * 420, "TX_TIME_DAYS": n * 420 // 86400,
        "TX_FRAUD": fraud, "TX_FRAUD_SCENARIO": 2 * fraud,
    }  # fmt: skip


def _paysim(n: int, _: datetime, chance: random.Random) -> dict[str, Any]:
    balance, amount = round(chance.uniform(0, 90_000), 2), round(chance.uniform(1, 9_000), 2)
    return {
        "step": 1 + n // 8, "type": chance.choice(["CASH_OUT", "PAYMENT", "TRANSFER"]), "amount": amount,
        "nameOrig": f"C{chance.randrange(10**8, 10**9)}", "oldbalanceOrg": balance,
        "newbalanceOrig": max(balance - amount, 0),
        "nameDest": f"M{chance.randrange(50) + 10**8}", "oldbalanceDest": 0.0, "newbalanceDest": 0.0,
        "isFraud": int(chance.random() < 0.02), "isFlaggedFraud": 0,
    }  # fmt: skip


def card_number(account: int) -> str:
    """A number of 16 digits with the right check digit."""
    body = f"400012{account:09d}"
    total = sum(sum(divmod(int(d) * (2 - i % 2), 10)) for i, d in enumerate(body))
    return f"{body}{-total % 10}"


def _sparkov(n: int, at: datetime, chance: random.Random) -> dict[str, Any]:
    lat, lon = round(chance.uniform(25, 48), 4), round(chance.uniform(-120, -70), 4)
    return {
        "trans_date_trans_time": at, "cc_num": card_number(chance.randrange(30)),
        "merchant": f"fraud_{chance.choice(['Rippin, Kub and Mann', 'Kirlin and Sons', 'Sporer-Keebler'])}",
        "category": chance.choice(["grocery_pos", "misc_net", "gas_transport"]),
        "amt": round(chance.uniform(1, 900), 2),
        "first": "Ann", "last": "Example", "gender": chance.choice("FM"), "street": "1 Main St", "city": "Springfield",
        "state": chance.choice(["NY", "CA"]), "zip": 12345, "lat": lat, "long": lon,
        "city_pop": chance.randrange(10**5),
        "job": "Baker", "dob": "1980-01-01", "trans_num": f"{chance.getrandbits(128):032x}",
        "unix_time": n, "merch_lat": lat + 0.5, "merch_long": lon - 0.5, "is_fraud": int(chance.random() < 0.03),
    }  # fmt: skip


def _ieee_cis(n: int, _: datetime, chance: random.Random) -> dict[str, Any]:
    return {
        "TransactionID": 2987000 + n, "isFraud": int(chance.random() < 0.04), "TransactionDT": 86400 + 420 * n,
        "TransactionAmt": round(chance.uniform(1, 500), 3), "ProductCD": chance.choice("WCHR"),
        "card1": chance.randrange(1000, 1030), "card2": 404.0, "card3": 150.0, "card4": "visa", "card5": 226.0,
        "card6": chance.choice(["debit", "credit"]), "addr1": chance.choice([315.0, 204.0, None]), "addr2": 87.0,
        "dist1": None,
        "P_emaildomain": "gmail.com", "R_emaildomain": None,
        **{f"C{i}": float(chance.randrange(4)) for i in range(1, 15)}, **{f"D{i}": float(n) for i in range(1, 16)},
        **{f"M{i}": chance.choice(["T", "F", None]) for i in range(1, 10)},
        "DeviceType": "mobile", "DeviceInfo": "iOS Device",
    }  # fmt: skip
