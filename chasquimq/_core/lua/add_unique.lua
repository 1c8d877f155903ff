#!lua
-- Adds a job to the stream unless its id was added within the deduplication window.
-- KEYS: stream, dedup marker of the job id, events (left out = no event).
-- ARGV: window in seconds, token of this very call, envelope, dispatch name ('' = none), then for the event: length of
--       its stream, its fields.
-- Returns: 1 added, 0 a duplicate.
-- Sent twice: the marker holds the token of the call that won, so the second sending answers 1 and adds nothing.
-- @include write_event
if not redis.call('SET', KEYS[2], ARGV[2], 'NX', 'EX', ARGV[1]) then
  return redis.call('GET', KEYS[2]) == ARGV[2] and 1 or 0
end
if ARGV[4] == '' then
  redis.call('XADD', KEYS[1], '*', 'd', ARGV[3])
else
  redis.call('XADD', KEYS[1], '*', 'd', ARGV[3], 'n', ARGV[4])
end
if KEYS[3] then
  write_event(KEYS[3], ARGV[5], unpack(ARGV, 6))
end
return 1
