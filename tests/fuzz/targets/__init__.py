"""Every decoder of foreign bytes as a function that takes any bytes and raises only if something is wrong.

One name per target; ``seeds.py`` has inputs to begin with, ``regressions/<name>`` what was found.
"""

from __future__ import annotations

from collections.abc import Callable

from tests.fuzz.targets import jobs, schedule, texts, wire

Target = Callable[[bytes], None]

TARGETS: dict[str, Target] = {
    "replies": wire.replies,
    "entries": wire.entries,
    "requests": wire.requests,
    "redirect": wire.redirect,
    "envelope": jobs.envelope,
    "member": jobs.member,
    "payload": jobs.payload,
    "data": jobs.data,
    "dead_letter": jobs.dead_letter,
    "spec": schedule.spec,
    "cron": schedule.cron_pattern,
    "options": schedule.options,
    "url": texts.url,
    "event": texts.event,
}
