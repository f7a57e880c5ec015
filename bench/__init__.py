"""Benchmarks of the desk, each beside a peer or a physical limit measured in the same run. `python -m bench list`."""
