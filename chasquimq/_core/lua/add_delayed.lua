#!lua
-- Puts a job into the delayed set.
-- KEYS: delayed, wake, events (left out = no event).
-- ARGV: delay in ms ('' = the due time is given), due time in ms, member, then for the event: length of its stream, its
--       fields.
-- Returns: the due time in ms.
-- Sent twice: the member is the same, so the set still holds it once (with a due time that is a little later), and only
-- the first sending tells. That holds until the job is due; the caller sends it again only where that is far away.
-- @include server_now_ms
-- @include wake_promoter
-- @include write_event
local due = ARGV[2]
if ARGV[1] ~= '' then
  due = string.format('%.0f', server_now_ms() + tonumber(ARGV[1]))
end
local added = redis.call('ZADD', KEYS[1], due, ARGV[3])
wake_promoter(KEYS[1], KEYS[2], ARGV[3])
if KEYS[3] and added == 1 then
  write_event(KEYS[3], ARGV[4], unpack(ARGV, 5))
end
return tonumber(due)
