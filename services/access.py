"""Who may do what. Every mutating service call takes an `Actor` and starts with `require`; pages ask `allows`.

Roles come from the identity provider's token; the table below is the whole of the authorisation.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from services.errors import Denied


class Role(StrEnum):
    ANALYST = "analyst"
    MANAGER = "manager"
    ADMIN = "admin"


class Permission(StrEnum):
    VIEW_QUEUE = "view the queue"
    VIEW_TRANSACTION = "view transactions"
    DECIDE = "decide alerts"
    SCORE_LIVE = "score live"
    WRITE_BACK = "write scored transactions back"
    VIEW_KPIS = "view KPIs"
    VIEW_RATES = "view fraud rates"
    VIEW_HEALTH = "view loop health"
    OPERATE_LOOP = "pause, resume and reconcile the loop"
    VIEW_TRAINING = "view training"
    TRAIN = "start and stop training"
    IMPORT = "import data"
    VIEW_DEPLOYMENT = "view deployments"
    DEPLOY = "deploy and roll back"


_ANALYST = {Permission.VIEW_QUEUE, Permission.VIEW_TRANSACTION, Permission.DECIDE, Permission.SCORE_LIVE}
_MANAGER = {
    Permission.VIEW_QUEUE,
    Permission.VIEW_TRANSACTION,
    Permission.VIEW_KPIS,
    Permission.VIEW_RATES,
    Permission.VIEW_HEALTH,
}
_ADMIN = {
    Permission.VIEW_QUEUE,
    Permission.VIEW_TRANSACTION,
    Permission.SCORE_LIVE,
    Permission.WRITE_BACK,
    Permission.VIEW_KPIS,
    Permission.VIEW_RATES,
    Permission.VIEW_HEALTH,
    Permission.OPERATE_LOOP,
    Permission.VIEW_TRAINING,
    Permission.TRAIN,
    Permission.IMPORT,
    Permission.VIEW_DEPLOYMENT,
    Permission.DEPLOY,
}

PERMISSIONS: dict[Role, frozenset[Permission]] = {
    Role.ANALYST: frozenset(_ANALYST),
    Role.MANAGER: frozenset(_MANAGER),
    Role.ADMIN: frozenset(_ADMIN),
}


@dataclass(frozen=True, slots=True)
class Actor:
    """A signed-in person, or a process acting for the desk (`system`). `subject` is the identity provider's id."""

    subject: str
    name: str
    role: Role


def system(name: str) -> Actor:
    """The actor of an unattended process (first-start set-up, a worker): admin rights, named in the audit."""
    return Actor(subject=f"system:{name}", name=name, role=Role.ADMIN)


def allows(actor: Actor, permission: Permission) -> bool:
    return permission in PERMISSIONS[actor.role]


def require(actor: Actor, permission: Permission) -> None:
    """Raise Denied unless the actor's role has the permission."""
    if not allows(actor, permission):
        raise Denied(f"Your role ({actor.role}) may not {permission}; nothing was changed.")
