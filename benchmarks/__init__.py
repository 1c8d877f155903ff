"""Benchmarks: ``python -m benchmarks`` measures whole scenarios (``macro``); ``micro`` holds those of single functions.

Figures of one run are compared with figures of the same run only, as ratios: machines differ and drift.
"""
