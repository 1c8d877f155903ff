"""The demo: every file of this machine's standard library becomes a job. Run it with ``python -m examples.demo``.

Read on in this order: ``story`` (what happens), ``modules`` (the work), ``handlers`` (what a worker is given),
``sync_worker`` and ``aio_worker`` (how it is run), then ``tally`` and ``screen`` (what you see).
"""
