#!lua
-- Stores a repeatable spec and when it fires next.
-- KEYS: repeat, spec hash, wake (of the scheduler).
-- ARGV: spec key, next fire in ms, spec.
-- Returns: 1.
-- Sent twice: the same spec is stored again. The count of past fires (hash field `fired`) is kept on purpose.
-- @include wake_promoter
redis.call('HSET', KEYS[2], 'spec', ARGV[3])
redis.call('ZADD', KEYS[1], ARGV[2], ARGV[1])
wake_promoter(KEYS[1], KEYS[3], ARGV[1])
return 1
