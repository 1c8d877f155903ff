"""Every decision, and no waiting: no socket, clock, thread, random source or event loop in here."""
