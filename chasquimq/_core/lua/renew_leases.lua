#!lua flags=allow-oom
-- Renews the leases of entries that this consumer still owns. It never takes an entry back from another one.
-- KEYS: stream.
-- ARGV: group, consumer, entry ids.
-- Returns: per entry 1 renewed, 0 lost (taken over, acknowledged or deleted).
-- Sent twice: renewing again is harmless.
-- @include owns
local claim = {'XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0}
for index = 3, #ARGV do
  if owns(KEYS[1], ARGV[1], ARGV[2], ARGV[index]) then
    claim[#claim + 1] = ARGV[index]
  end
end
local claimed = {}
if #claim > 5 then
  claim[#claim + 1] = 'JUSTID'
  -- An entry that is pending but deleted is not among the answers; XCLAIM drops it.
  for _, id in ipairs(redis.call(unpack(claim))) do
    claimed[id] = true
  end
end
local renewed = {}
for index = 3, #ARGV do
  renewed[#renewed + 1] = claimed[ARGV[index]] and 1 or 0
end
return renewed
