"""Live traffic of the embedded profile: the simulated world goes on, through the desk's front door.

`python -m embedded.traffic --rate 2 --seed 7` sends what happens now and, weeks late, what turned out to be fraud. It
knows the truth; the desk is told only what a bank would be told.
"""

MAX_RATE = 2_000.0  # transactions a second
