#!lua flags=allow-oom
-- Hands back everything that is pending for a stopping consumer, except what is still running, and deletes the
-- consumer if it then owns nothing.
-- KEYS: stream.
-- ARGV: group, consumer, consumer that takes over, idle time in ms, number of ids that stay, ids that stay ...,
--       ids of jobs that had been started ...
-- Returns: {handed back, 1 if something is still pending}.
-- Sent twice: the second finds nothing more to hand back.
-- The idle time is longer than any worker's lease, so that the next reader takes the entries at once. The delivery of
-- a job that nobody had started is uncounted again. A consumer with pending entries is never deleted: that would lose them.
local stay = {}
local started = {}
for index = 6, #ARGV do
  if index - 5 <= tonumber(ARGV[5]) then
    stay[ARGV[index]] = true
  else
    started[ARGV[index]] = true
  end
end
local handed_back = 0
local start = '-'
repeat
  local pending = redis.call('XPENDING', KEYS[1], ARGV[1], start, '+', 100, ARGV[2])
  for _, entry in ipairs(pending) do
    if not stay[entry[1]] then
      redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[3], 0, entry[1], 'IDLE', ARGV[4],
        'RETRYCOUNT', started[entry[1]] and entry[4] or math.max(0, entry[4] - 1), 'JUSTID')
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
