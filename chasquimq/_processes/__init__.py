"""Several processes for one worker: the supervisor, what it starts, and what passes between them.

Loaded only by a worker with ``processes=`` above 1. Why it is built like this: docs/adr/0012.
"""
