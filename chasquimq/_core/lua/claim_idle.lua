#!lua flags=allow-oom
-- Takes over entries whose lease is over, for servers whose XREADGROUP cannot (no CLAIM).
-- KEYS: stream.
-- ARGV: group, consumer, idle time in ms, largest number of entries, where to start.
-- Returns: {where to start next, entries as XREADGROUP ... CLAIM gives them: {id, fields, idle ms, earlier deliveries}}.
-- Sent twice: entries claimed by the first call are not idle any more; their lease runs out and they come back.
local reply = redis.call('XAUTOCLAIM', KEYS[1], ARGV[1], ARGV[2], ARGV[3], ARGV[5], 'COUNT', ARGV[4])
local entries = {}
for _, entry in ipairs(reply[2]) do
  local pending = redis.call('XPENDING', KEYS[1], ARGV[1], entry[1], entry[1], 1)
  if pending[1] then
    entries[#entries + 1] = {entry[1], entry[2], tonumber(ARGV[3]), pending[1][4] - 1}
  end
end
return {reply[1], entries}
