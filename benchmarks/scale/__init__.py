"""What one Redis core carries, and what many jobs a second need: the tables of docs/scale.md.

::

    docs/benchmarks/figures.json ──> capacity ──────────────────────────────┐
    a server ── sizes ──────────────────┘                                   ├──> __main__ ──> docs/scale.md
    a server ── commands ──> simulation ──> limits ──> findings ────────────┤
    a server ── fleet ─────────────────────────────────────┘   keys ────────┘

``capacity`` calculates from the figures of the last report and from ``sizes`` in a server's memory. ``commands``
measures what commands cost; ``simulation`` runs one shard with these costs, ``limits`` finds how much it bears,
``keys`` how evenly shards fill, and ``findings`` makes tables of it. ``fleet`` runs a small fleet that is real, to hold
the simulation against.
"""
