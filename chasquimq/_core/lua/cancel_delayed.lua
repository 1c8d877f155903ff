#!lua flags=allow-oom
-- Takes a job with a caller's id out of the delayed set, before it was promoted.
-- KEYS: delayed, cancel index, dedup marker.
-- ARGV: none.
-- Returns: 1 cancelled, 0 there was nothing to cancel.
-- Sent twice: the second finds no index and answers 0.
local member = redis.call('GET', KEYS[2])
if not member or redis.call('ZREM', KEYS[1], member) == 0 then
  return 0
end
redis.call('DEL', KEYS[2], KEYS[3])
return 1
