#!lua flags=allow-oom
-- Moves due jobs from the delayed set into the stream, if the caller leads the promotion of this queue.
-- KEYS: delayed, stream, dlq, promoter lock, wake.
-- ARGV: holder id, lock lifetime in seconds, largest number of jobs, dlq length, 1 if a wake token was taken.
-- Returns: {1, server time in ms, next due time in ms or -1, members set aside, promoted job ids ...}
--          (an id is '' where the envelope does not show it at once)
--          or {0, server time in ms, lock lifetime left in ms} when another holder leads.
-- Sent twice: every job is moved in one step, so the second call finds the others only.
-- The lock saves work, it does not guard correctness: without it the jobs would still move once.
-- allow-oom: jobs change their place, the server's memory does not grow.
-- @include job_id_of
-- @include server_now_ms
local now = server_now_ms()
local holder = redis.call('GET', KEYS[4])
if holder and holder ~= ARGV[1] then
  if ARGV[5] == '1' and redis.call('LLEN', KEYS[5]) == 0 then
    -- The token was meant for the leader.
    redis.call('RPUSH', KEYS[5], '1')
    redis.call('PEXPIRE', KEYS[5], 60000)
  end
  return {0, now, redis.call('PTTL', KEYS[4])}
end
redis.call('SET', KEYS[4], ARGV[1], 'EX', ARGV[2])
local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, ARGV[3])
local promoted = {}
local set_aside = 0
for _, member in ipairs(due) do
  local kept = false
  local a, b, c, d = string.byte(member, 1, 4)
  local start = d and (a + b * 256 + c * 65536 + d * 16777216) + 5
  if not start or start > #member then
    -- No envelope can be read out of it; kept where a person finds it, so that it cannot block the others. Where the
    -- dead-letter queue cannot be written it rests for a minute instead.
    local told = redis.pcall('XADD', KEYS[3], 'MAXLEN', '~', ARGV[4], '*', 'd', member, 'source_id', '0-0',
      'reason', 'malformed', 'detail', 'delayed member without an envelope')
    kept = type(told) == 'table' and told.err
    set_aside = set_aside + 1
  else
    local envelope = string.sub(member, start)
    if start > 5 then
      redis.call('XADD', KEYS[2], '*', 'd', envelope, 'n', string.sub(member, 5, start - 1))
    else
      redis.call('XADD', KEYS[2], '*', 'd', envelope)
    end
    promoted[#promoted + 1] = job_id_of(envelope)
  end
  if kept then
    redis.call('ZADD', KEYS[1], now + 60000, member)
  else
    redis.call('ZREM', KEYS[1], member)
  end
end
local head = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')
return {1, now, head[2] and math.ceil(tonumber(head[2])) or -1, set_aside, unpack(promoted)}
