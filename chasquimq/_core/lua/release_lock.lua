#!lua flags=allow-oom
-- Gives up a leader lock if the caller holds it.
-- KEYS: lock.
-- ARGV: holder id.
-- Returns: 1 released, 0 somebody else's or nobody's.
-- Sent twice: the second finds another holder or none and answers 0.
if redis.call('GET', KEYS[1]) == ARGV[1] then
  return redis.call('DEL', KEYS[1])
end
return 0
