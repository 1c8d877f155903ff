#!lua
-- Puts a job with a caller's id into the delayed set unless that id was added within the deduplication window.
-- KEYS: delayed, wake, dedup marker, cancel index, events (left out = no event).
-- ARGV: delay in ms ('' = the due time is given), due time in ms, member, window in seconds, then for the event: length
--       of its stream, its fields.
-- Returns: 1 added, 0 a duplicate.
-- Sent twice: the job is there once; the second sending answers 0, because the marker, whose value the wire format
-- fixes, cannot tell whose it is.
-- @include server_now_ms
-- @include wake_promoter
-- @include write_event
if not redis.call('SET', KEYS[3], '1', 'NX', 'EX', ARGV[4]) then
  return 0
end
local due = ARGV[2]
if ARGV[1] ~= '' then
  due = string.format('%.0f', server_now_ms() + tonumber(ARGV[1]))
end
redis.call('ZADD', KEYS[1], due, ARGV[3])
redis.call('SET', KEYS[4], ARGV[3], 'EX', ARGV[4])
wake_promoter(KEYS[1], KEYS[2], ARGV[3])
if KEYS[5] then
  write_event(KEYS[5], ARGV[5], unpack(ARGV, 6))
end
return 1
