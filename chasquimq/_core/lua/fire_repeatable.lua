#!lua
-- Fires a repeatable spec: adds its jobs and stores its next fire, if nobody else has done so meanwhile.
-- KEYS: stream, repeat, spec hash.
-- ARGV: spec key, score as it was read, spec as it was read, next fire in ms ('' = it is over), limit (0 = none),
--       then per fire: envelope, dispatch name.
-- Returns: {jobs added, 1 if the spec is removed}, or {-1, 0} when the spec is not what was read any more.
-- Sent twice (or by two leaders): the score has moved, so the second adds nothing.
if redis.call('ZSCORE', KEYS[2], ARGV[1]) ~= ARGV[2] or redis.call('HGET', KEYS[3], 'spec') ~= ARGV[3] then
  return {-1, 0}
end
local limit = tonumber(ARGV[5])
local fired = tonumber(redis.call('HGET', KEYS[3], 'fired') or '0') or 0
local added = 0
for index = 6, #ARGV, 2 do
  if limit > 0 and fired + added >= limit then
    break
  end
  if ARGV[index + 1] == '' then
    redis.call('XADD', KEYS[1], '*', 'd', ARGV[index])
  else
    redis.call('XADD', KEYS[1], '*', 'd', ARGV[index], 'n', ARGV[index + 1])
  end
  added = added + 1
end
if added > 0 then
  redis.call('HSET', KEYS[3], 'fired', fired + added) -- not HINCRBY: nothing may fail after the first job was added
end
if ARGV[4] == '' or (limit > 0 and fired + added >= limit) then
  redis.call('ZREM', KEYS[2], ARGV[1])
  redis.call('DEL', KEYS[3])
  return {added, 1}
end
redis.call('ZADD', KEYS[2], ARGV[4], ARGV[1])
return {added, 0}
