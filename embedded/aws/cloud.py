"""Everything handlers work with, wired once a server, and the order in which it starts and ends."""

from __future__ import annotations

from dataclasses import dataclass

from embedded.aws.cloudwatch.counters import Metrics
from embedded.aws.config import Config
from embedded.aws.functions.pools import Pools
from embedded.aws.kafkaconnect.stream import StreamConnector
from embedded.aws.log_files import LogFiles
from embedded.aws.objects import Objects
from embedded.aws.processes import Processes
from embedded.aws.sagemaker.auto_ml_run import Searches
from embedded.aws.sagemaker.containers import remove_leftovers
from embedded.aws.sagemaker.fleets import Fleets
from embedded.aws.sagemaker.job_run import JobRunner
from embedded.aws.store import Store


@dataclass(frozen=True, slots=True)
class Cloud:
    """The parts of one server. `build` makes it, `open` starts it; both in the event loop that serves."""

    config: Config
    store: Store
    objects: Objects
    processes: Processes
    logs: LogFiles
    metrics: Metrics
    jobs: JobRunner
    searches: Searches
    fleets: Fleets
    pools: Pools
    connector: StreamConnector

    @classmethod
    def build(cls, config: Config) -> Cloud:
        config.state.mkdir(parents=True, exist_ok=True)
        store = Store(config.mongodb_uri, config.database)
        objects = Objects(config.s3_endpoint, config.region, config.access_key, config.secret_key)
        processes = Processes(config.state)
        logs = LogFiles(config.state / "logs")
        metrics = Metrics(store.database)
        return cls(
            config=config,
            store=store,
            objects=objects,
            processes=processes,
            logs=logs,
            metrics=metrics,
            jobs=JobRunner(config, store["training_jobs"], objects, processes, logs),
            searches=Searches(),
            fleets=Fleets(config, store["endpoints"], objects, processes, logs),
            pools=Pools(config, processes, logs),
            connector=StreamConnector(config, store, metrics),
        )

    async def open(self) -> None:
        """End what a killed server left running, load the records, and continue what they say is under way."""
        self.processes.end_orphans()
        remove_leftovers(self.config.state)
        await self.store.open()
        await self.metrics.open()
        await self.connector.open()
        self.fleets.recover()
        await self.jobs.recover()
        self.searches.recover(self)

    async def close(self) -> None:
        await self.connector.close()
        await self.searches.close()
        await self.jobs.close()
        await self.fleets.close()
        await self.pools.close()
        await self.processes.end_all()
        await self.metrics.close()
        await self.store.close()
