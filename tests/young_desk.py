"""What a desk of a minute's age may lack."""

from __future__ import annotations

from services.adapters.mongo.client import Db


def review_a_fifth(db: Db) -> None:
    """Of a young model's scores hardly any may reach its threshold: it becomes what a fifth of the latest have reached.

    Else it would be left to the day's model whether there are the alerts that a test works on.
    """
    scored = {"score.value": {"$exists": True}}
    latest = [d["score"] for d in db["transactions"].find(scored, {"score": 1}).sort("event_time", -1).limit(1000)]
    serving = latest[0]["model_version"]
    values = sorted(score["value"] for score in latest if score["model_version"] == serving)
    db["thresholds"].update_one({"_id": serving}, {"$min": {"review": values[len(values) * 4 // 5]}})
