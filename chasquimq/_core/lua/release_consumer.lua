#!lua flags=allow-oom
-- Hands back everything that is pending for a stopping consumer, except what is still running, and deletes the
-- consumer if it then owns nothing.
-- KEYS: stream.
-- ARGV: group, consumer, consumer that takes over, idle time in ms, ids that stay ...
-- Returns: {handed back, still pending}.
-- Sent twice: the second finds nothing more to hand back.
-- The idle time is longer than any worker's lease, so that the next reader takes the entries at once. This delivery
-- is uncounted again: nobody had started the job. A consumer with pending entries is never deleted: that would lose them.
local stay = {}
for index = 5, #ARGV do
  stay[ARGV[index]] = true
end
local handed_back = 0
local start = '-'
repeat
  local pending = redis.call('XPENDING', KEYS[1], ARGV[1], start, '+', 100, ARGV[2])
  for _, entry in ipairs(pending) do
    if not stay[entry[1]] then
      redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[3], 0, entry[1], 'IDLE', ARGV[4],
        'RETRYCOUNT', math.max(0, entry[4] - 1), 'JUSTID')
      handed_back = handed_back + 1
    end
    start = '(' .. entry[1]
  end
until #pending < 100
local left = #redis.call('XPENDING', KEYS[1], ARGV[1], '-', '+', 1, ARGV[2])
if left == 0 then
  redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], ARGV[2])
end
return {handed_back, left}
