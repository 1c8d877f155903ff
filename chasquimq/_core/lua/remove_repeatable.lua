#!lua flags=allow-oom
-- Removes a repeatable spec.
-- KEYS: repeat, spec hash.
-- ARGV: spec key.
-- Returns: 1 removed, 0 there was none.
-- Sent twice: the second finds nothing.
local removed = redis.call('ZREM', KEYS[1], ARGV[1])
redis.call('DEL', KEYS[2])
return removed
