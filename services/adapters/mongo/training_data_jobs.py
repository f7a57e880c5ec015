"""`training_data_jobs`: the imports and freezes under way. Satisfies `services.training_data_jobs.JobNotes`."""

from __future__ import annotations

from dataclasses import asdict

from services.adapters.mongo.client import Db, translated
from services.training_data_jobs import CUT_OFF_AFTER, JobNote


class MongoJobNotes:
    """`MongoJobNotes(db)`."""

    def __init__(self, db: Db) -> None:
        self._notes = db["training_data_jobs"]

    def put(self, note: JobNote) -> None:
        values = asdict(note)
        job_id = values.pop("job_id")
        with translated():
            self._notes.replace_one({"_id": job_id}, values, upsert=True)
            self._notes.delete_many({"beat_at": {"$lt": note.beat_at - CUT_OFF_AFTER}})

    def remove(self, job_id: str) -> None:
        with translated():
            self._notes.delete_one({"_id": job_id})

    def newest(self) -> JobNote | None:
        with translated():
            found = self._notes.find_one(sort=[("started_at", -1)])
        return JobNote(job_id=found.pop("_id"), **found) if found else None
