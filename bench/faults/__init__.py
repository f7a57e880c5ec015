"""Faults on purpose: stream and curator killed, stopped and starved at every call they make to the outside.

Nothing in the product knows of it: S3 requests pass through a proxy, MongoDB's driver reports its commands, and the
catalog's commits go through SQLAlchemy. `bench.kills` runs the long campaign, `tests/faults` a short one.
"""
