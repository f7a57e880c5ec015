"""What the stack tells its clients: secrets made once, the demo people, and the variables every process reads.

Inside the product nothing knows whether it runs embedded: it reads the same variables that an operator sets for Atlas
and AWS. Two rules keep a newcomer's own AWS account out of it: the AWS variables are set as a whole, endpoint and
credentials together, and the profile and configuration files of the account are put out of reach.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, MutableMapping
from dataclasses import asdict, dataclass
from typing import Any

from embedded.ports import LOOPBACK
from embedded.state_folder import StateFolder, read_json, write_json

BUCKET = "fraud-desk"
ENDPOINT = "fraud-desk"
REGION = "us-east-1"
CLIENT_ID = "fraud-desk"
# Marks every process of one stack; its value is the state folder. Only the supervisor sets it.
STACK_MARK = "FRAUD_DESK_STACK"
# No 0/o, 1/l/i: people read these from a terminal and type them.
_READABLE = "abcdefghjkmnpqrstuvwxyz23456789"
# Variables that would divert a client of the embedded AWS endpoint to the person's own account.
_FOREIGN_AWS = ("AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_SESSION_TOKEN", "AWS_SECURITY_TOKEN",
                "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE",
                "AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Secrets:
    s3_access_key: str
    s3_secret_key: str
    cookie_secret: str
    oidc_client_secret: str
    # Keys the hashes that stand for card numbers in imported files: another one would give other tokens.
    token_key: str


@dataclass(frozen=True, slots=True)
class Person:
    """A demo sign-in. `role` is one of analyst, manager, admin; `sub` is the provider's stable id."""

    sub: str
    email: str
    name: str
    role: str
    password: str


def load_secrets(folder: StateFolder) -> Secrets:
    """The folder's secrets, made on its first start. rclone refuses short access keys; AWS's own lengths are used."""
    known = read_json(folder.secrets)
    names = set(Secrets.__dataclass_fields__)
    if isinstance(known, dict) and set(known) == names:
        return Secrets(**known)
    made = Secrets(
        s3_access_key="FD" + secrets.token_hex(9).upper(),
        s3_secret_key=secrets.token_hex(20),
        cookie_secret=secrets.token_hex(32),
        oidc_client_secret=secrets.token_hex(24),
        token_key=secrets.token_hex(32),
    )
    if isinstance(known, dict) and set(known) < names:  # made by a former version: what there was stays
        made = Secrets(**asdict(made) | known)
    write_json(folder.secrets, asdict(made))
    return made


def load_people(folder: StateFolder) -> tuple[tuple[Person, ...], bool]:
    """The demo people, and whether they were made just now (passwords are shown once, then only kept in the file)."""
    known = read_json(folder.people)
    if isinstance(known, dict) and known.get("people"):
        return tuple(Person(**person) for person in known["people"]), False
    names = {"analyst": "Ana Ruiz", "manager": "Marc Keller", "admin": "Ada Novak"}
    people = tuple(
        Person(f"demo-{role}", f"{role}@fraud-desk.example", name, role, _password()) for role, name in names.items()
    )
    write_json(folder.people, {"people": [asdict(person) for person in people]})
    return people, True


def _password() -> str:
    """Three groups of four from 31 characters: 59 bits."""
    return "-".join("".join(secrets.choice(_READABLE) for _ in range(4)) for _ in range(3))


def sign_in_block(people: tuple[Person, ...], folder: StateFolder) -> str:
    """The text printed once on a first start."""
    width = max(len(person.email) for person in people)
    lines = [f"    {person.role:<8}  {person.email:<{width}}  {person.password}" for person in people]
    return "\n".join(("", "  Sign in to Fraud Desk as", "", *lines, "", f"  Kept in {folder.people}", ""))


def build(folder: StateFolder, ports: Mapping[str, int], made: Secrets, *, mapping: str = "") -> dict[str, str]:
    """Every variable of docs/contracts.md, "Environment"; needs the ports mongod, s3, aws and oidc. `mapping` is the
    full path of the desk's mapping, "" where there is none.
    """
    aws = f"http://{LOOPBACK}:{ports['aws']}"
    return {
        "MONGODB_URI": f"mongodb://{LOOPBACK}:{ports['mongod']}/?replicaSet=rs0",
        "FRAUD_DESK_STATE": str(folder.path),
        "FRAUD_DESK_SETUP_PROGRESS": str(folder.progress),
        "FRAUD_DESK_MAPPING": mapping,
        "FRAUD_DESK_BUCKET": BUCKET,
        "FRAUD_DESK_CATALOG": f"sqlite:///{folder.catalog}",
        "FRAUD_DESK_ENDPOINT": ENDPOINT,
        "FRAUD_DESK_CONNECTORS": "fraud-desk",
        "FRAUD_DESK_SAGEMAKER_ROLE": "arn:aws:iam::000000000000:role/fraud-desk-sagemaker",
        "FRAUD_DESK_TRAINING_IMAGE": f"683313688378.dkr.ecr.{REGION}.amazonaws.com/sagemaker-xgboost:3.0-5",
        "FRAUD_DESK_TRAINING_PRICE": "0",  # jobs run on this machine
        "FRAUD_DESK_OIDC_METADATA_URL": f"http://{LOOPBACK}:{ports['oidc']}/.well-known/openid-configuration",
        "FRAUD_DESK_OIDC_CLIENT_ID": CLIENT_ID,
        "FRAUD_DESK_OIDC_CLIENT_SECRET": made.oidc_client_secret,
        "FRAUD_DESK_COOKIE_SECRET": made.cookie_secret,
        "FRAUD_DESK_TOKEN_KEY": made.token_key,
        "AWS_ENDPOINT_URL": aws,
        "AWS_ENDPOINT_URL_S3": f"http://{LOOPBACK}:{ports['s3']}",
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ACCESS_KEY_ID": made.s3_access_key,
        "AWS_SECRET_ACCESS_KEY": made.s3_secret_key,
        "AWS_REQUEST_CHECKSUM_CALCULATION": "when_required",
        "AWS_RESPONSE_CHECKSUM_VALIDATION": "when_required",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": "/dev/null",
        "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
    }


def summary(environment: Mapping[str, str]) -> dict[str, Any]:
    """The one JSON line that `up` prints when the stack is ready."""
    return {
        "mongodb_uri": environment["MONGODB_URI"],
        "s3_endpoint": environment["AWS_ENDPOINT_URL_S3"],
        "aws_endpoint": environment["AWS_ENDPOINT_URL"],
        "oidc_issuer": environment["FRAUD_DESK_OIDC_METADATA_URL"].removesuffix("/.well-known/openid-configuration"),
        "bucket": environment["FRAUD_DESK_BUCKET"],
        "endpoint_name": environment["FRAUD_DESK_ENDPOINT"],
    }


def adopt(into: MutableMapping[str, str], environment: Mapping[str, str]) -> None:
    """Let a client process use the stack. What the person set wins, except that AWS's variables are one unit:
    unless the person named an endpoint, all of them are the stack's, so real credentials are never sent to it. The
    mapping is the stack's as well: its workers read by it.
    """
    own_aws = bool(into.get("AWS_ENDPOINT_URL"))
    for name, value in environment.items():
        if name == "FRAUD_DESK_MAPPING":
            into[name] = value
        elif not name.startswith("AWS_"):
            into[name] = into.get(name) or value
        elif not own_aws:
            into[name] = value
    if not own_aws:
        for name in list(into):
            if name in _FOREIGN_AWS or (name.startswith("AWS_ENDPOINT_URL_") and name not in environment):
                del into[name]
    bypass_proxy(into)


def for_children(base: Mapping[str, str], environment: Mapping[str, str], folder: StateFolder) -> dict[str, str]:
    """The environment of every process of the stack: the stack's own values win over whatever the shell had."""
    merged = {
        name: value
        for name, value in base.items()
        if name not in _FOREIGN_AWS and not name.startswith(("RCLONE_", "AWS_ENDPOINT_URL", "FRAUD_DESK_STACK"))
    }
    merged |= environment
    merged |= {STACK_MARK: str(folder.path), "PYTHONUNBUFFERED": "1"}
    bypass_proxy(merged)
    return merged


def bypass_proxy(env: MutableMapping[str, str]) -> None:
    """Loopback addresses are never asked of an HTTP proxy, whatever the shell says."""
    for name in ("NO_PROXY", "no_proxy"):
        hosts = [host for host in env.get(name, "").split(",") if host]
        env[name] = ",".join(hosts + [host for host in (LOOPBACK, "localhost") if host not in hosts])
