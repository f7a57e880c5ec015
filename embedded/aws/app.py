"""Build the server's ASGI application; importing this registers every operation."""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.routing import Mount

from embedded.aws.cloud import Cloud
from embedded.aws.cloudwatch import logs as _logs
from embedded.aws.cloudwatch import metrics as _metrics
from embedded.aws.config import Config
from embedded.aws.functions import functions as _functions
from embedded.aws.gateway import Gateway
from embedded.aws.kafkaconnect import connectors as _connectors
from embedded.aws.kafkaconnect.rest import Connect
from embedded.aws.protocol.signature import SignatureCheck
from embedded.aws.sagemaker import (
    auto_ml,
    endpoint_configs,
    endpoints,
    invoke,
    model_packages,
    models,
    tags,
    training_jobs,
)

OPERATION_MODULES = (
    _logs,
    _metrics,
    _functions,
    _connectors,
    auto_ml,
    endpoint_configs,
    endpoints,
    invoke,
    model_packages,
    models,
    tags,
    training_jobs,
)


def build_app(config: Config) -> Starlette:
    """The application starts its parts when the server starts, and ends every child process when it stops."""
    signatures = SignatureCheck(config.access_key, config.secret_key) if config.verify_signatures else None
    gateway = Gateway(signatures)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        cloud = Cloud.build(config)
        try:
            await cloud.open()
            _functions.start_functions(cloud)
            # The service models are a large heap that stays: collections need not look through it while requests wait.
            gc.collect()
            gc.freeze()
            gateway.cloud = cloud
            yield
        finally:
            gateway.cloud = None
            await cloud.close()

    connect = Connect(lambda: gateway.cloud, config.access_key, config.secret_key)
    routes = [Mount("/kafka-connect", app=connect.router()), Mount("/", app=gateway)]
    return Starlette(routes=routes, lifespan=lifespan)
