"""The ways to wait on a connection, and the thread that keeps a worker's promises. Decisions are in ``_core``."""
