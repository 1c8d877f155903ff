#!lua flags=allow-oom
-- Tells which repeatable specs are due, if the caller leads the schedule of this queue.
-- KEYS: repeat, scheduler lock, wake (of the scheduler).
-- ARGV: holder id, lock lifetime in seconds, largest number of specs, 1 if a wake token was taken.
-- Returns: {1, server time in ms, next fire of the first spec that is not due in ms or -1, key, score, key, score ...}
--          or {0, server time in ms, lock lifetime left in ms} when another holder leads.
-- Sent twice: it changes nothing but the lock's lifetime.
-- @include server_now_ms
local now = server_now_ms()
local holder = redis.call('GET', KEYS[2])
if holder and holder ~= ARGV[1] then
  if ARGV[4] == '1' and redis.call('LLEN', KEYS[3]) == 0 then
    -- The token was meant for the leader.
    redis.call('RPUSH', KEYS[3], '1')
    redis.call('PEXPIRE', KEYS[3], 60000)
  end
  return {0, now, redis.call('PTTL', KEYS[2])}
end
redis.call('SET', KEYS[2], ARGV[1], 'EX', ARGV[2])
local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'WITHSCORES', 'LIMIT', 0, ARGV[3])
local later = redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. now, '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
return {1, now, later[2] and math.ceil(tonumber(later[2])) or -1, unpack(due)}
