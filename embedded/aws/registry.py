"""Which operations exist: a handler registers itself by service and operation name."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from embedded.aws.cloud import Cloud

Params = dict[str, Any]
Handler = Callable[["Cloud", Params], Awaitable[Params]]


@dataclass(frozen=True, slots=True)
class Registration:
    """One implemented operation. `needs_store`: answered 503 while MongoDB is away (data-plane calls are not)."""

    handler: Handler
    needs_store: bool


OPERATIONS: dict[tuple[str, str], Registration] = {}


def operation(service: str, name: str, *, needs_store: bool = True) -> Callable[[Handler], Handler]:
    """Register the decorated coroutine as `service`'s operation `name` (botocore's spellings of both).

    Handlers receive parameters that already satisfy the service model, and return the members of the output shape;
    members the shape does not have are left out of the answer, so a stored record can be returned as it is.
    """

    def register(handler: Handler) -> Handler:
        if (service, name) in OPERATIONS:
            raise ValueError(f"{service}.{name} is registered twice")
        OPERATIONS[service, name] = Registration(handler, needs_store)
        return handler

    return register
