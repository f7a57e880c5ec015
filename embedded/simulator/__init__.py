"""A seeded world of card transactions, honest and not: the demo's history and its live traffic.

Pure: no clock, no I/O. `history.generate` makes the past, `live.Live` goes on from it. The services never see what only
the simulator knows (which transactions are fraud); they get it as late and as incompletely as a bank does.
"""
