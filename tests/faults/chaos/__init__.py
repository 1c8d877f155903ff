"""Chaos: many real processes and a real server, killed and stopped at moments that a seed has drawn, and two
independent books that must agree at the end.

``schedule`` draws the faults, ``actors`` are the processes, ``stage`` plays the schedule, ``journal`` reads what the
server did (its append-only file), ``reckoning`` holds that against what the processes wrote down themselves.
``python -m tests.faults.chaos`` (or ``make chaos``) runs it.
"""
