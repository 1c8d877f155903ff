"""One Redis core with its producers and workers, event by event. All times are microseconds.

::

    producers ── groups of adds, at random times ──> core ── entries ──> worker processes
                                                      ^                        │
                                                      └── reads, ends, events ─┘

``timeline`` keeps what happens next; ``core`` is Redis' event loop with one stream; ``worker`` is a worker process that
decides with the library's own rules (``Intake``, ``worker_delay_ms``); ``shard`` puts them together and says what
came of it. Costs of commands are measured (``benchmarks.scale.commands``), everything else follows from them.

Not modelled: the network's limits, memory that runs out, snapshots and replication, leases that run out, handlers that
fail. The same seed gives the same outcome.
"""
