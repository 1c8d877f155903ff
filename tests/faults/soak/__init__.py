"""Soak: hours of work in minutes, with workers that come and go, and whether anything grows that should not.

``stage`` runs the processes and samples them from outside, ``program`` is what they do, ``books`` judges the samples.
``python -m tests.faults.soak`` (or ``make soak``) runs it.
"""
