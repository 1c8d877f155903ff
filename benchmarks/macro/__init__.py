"""Whole scenarios, each side in a process of its own, beside a bare client that sends the same commands.

The way through: ``runner`` interleaves the sides, ``side`` is the process of one side, ``scenarios`` holds what is
measured, ``bare`` the floors, ``meter`` the measuring, ``results`` the arithmetic and ``targets`` what must be reached.
"""
