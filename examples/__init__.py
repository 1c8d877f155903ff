"""Runnable examples; each one is run by the tests in ``tests/examples``."""
