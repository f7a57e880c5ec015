"""The peers of the stream, each run as a process of its own so that its memory can be told. Stands alone: the
environment of dlt has nothing of ours.

`python bench/stream_peers.py raw|plain|dlt EVENTS SECONDS INCREMENT`; prints {"events", "seconds", "peak_mib"}.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Iterator
from typing import Any

from bson.codec_options import CodecOptions
from bson.raw_bson import RawBSONDocument
from bson.timestamp import Timestamp
from pymongo import MongoClient

BATCH = 2000


def drain(start: Timestamp, events: int, *, raw: bool) -> int:
    """Every event of the change stream, with its post-image, and nothing done with it."""
    with MongoClient[Any](os.environ["MONGODB_URI"]) as client:
        db: Any = client[os.environ["FRAUD_DESK_DATABASE"]]
        if raw:
            db = db.with_options(codec_options=CodecOptions(document_class=RawBSONDocument))
        wanted = [{"$match": {"ns.coll": {"$in": ["transactions", "labels"]}}}]
        seen = 0
        with db.watch(wanted, full_document="required", start_at_operation_time=start, batch_size=BATCH) as changes:
            while seen < events:
                if changes.try_next() is not None:
                    seen += 1
        return seen


def dlt_parquet() -> int:
    """The collection to Parquet in the bucket, in chunks of documents as dlt's MongoDB source yields them."""
    import dlt

    loaded = 0

    @dlt.resource(name="transactions", primary_key="_id", write_disposition="replace")
    def documents() -> Iterator[list[dict[str, Any]]]:
        nonlocal loaded
        with MongoClient[Any](os.environ["MONGODB_URI"]) as client:
            cursor = client[os.environ["FRAUD_DESK_DATABASE"]]["transactions"].find(batch_size=BATCH)
            chunk = []
            for document in cursor:
                chunk.append(document)
                if len(chunk) == 10_000:
                    loaded += len(chunk)
                    yield chunk
                    chunk = []
            loaded += len(chunk)
            yield chunk

    destination = dlt.destinations.filesystem(
        bucket_url=f"s3://{os.environ['FRAUD_DESK_BUCKET']}/dlt",
        credentials={
            "aws_access_key_id": os.environ["AWS_ACCESS_KEY_ID"],
            "aws_secret_access_key": os.environ["AWS_SECRET_ACCESS_KEY"],
            "endpoint_url": os.environ["AWS_ENDPOINT_URL_S3"],
            "region_name": os.environ["AWS_REGION"],
        },
    )
    pipeline = dlt.pipeline("bench", destination=destination, dataset_name="fraud", pipelines_dir=os.environ["DLT_DIR"])
    pipeline.run(documents(), loader_file_format="parquet").raise_on_failed_jobs()
    return loaded


def main() -> None:
    kind, events, seconds, increment = sys.argv[1], *map(int, sys.argv[2:])
    if kind == "dlt":
        import dlt  # noqa: F401  importing it takes seconds and is not what is measured
    begun = time.perf_counter()
    done = dlt_parquet() if kind == "dlt" else drain(Timestamp(seconds, increment), events, raw=kind == "raw")
    took = time.perf_counter() - begun
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"events": done, "seconds": took, "peak_mib": peak}))


if __name__ == "__main__":
    main()
