"""First start: collections, functions, 150 days of history, a first trained and deployed model, and the last 60 days
scored and decided as if the desk had been running.

`python -m embedded.seed --history 125000 --seed 7` can be killed anywhere and run again: what it makes is determined by
the plan it writes down first, every id is deterministic, and a phase that is marked done is not repeated.
"""

MIN_HISTORY, MAX_HISTORY = 2_000, 5_000_000  # transactions: fewer hold too little fraud to train on
