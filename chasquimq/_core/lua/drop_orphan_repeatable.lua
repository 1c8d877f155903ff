#!lua flags=allow-oom
-- Removes a schedule whose spec is gone: there is nothing left to fire.
-- KEYS: repeat, spec hash.
-- ARGV: spec key.
-- Returns: 1 removed, 0 the spec is there (again).
-- Sent twice: the second finds nothing.
if redis.call('HEXISTS', KEYS[2], 'spec') == 1 then
  return 0
end
return redis.call('ZREM', KEYS[1], ARGV[1])
