#!lua flags=allow-oom
-- Renews the leases of entries that this consumer still owns. It never takes an entry back from another one.
-- KEYS: stream.
-- ARGV: group, consumer, entry ids.
-- Returns: per entry 1 renewed, 0 lost (taken over, acknowledged or deleted).
-- Sent twice: renewing again is harmless.
-- @include owns
local renewed = {}
local claim = {'XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0}
for index = 3, #ARGV do
  local mine = owns(KEYS[1], ARGV[1], ARGV[2], ARGV[index])
  renewed[#renewed + 1] = mine and 1 or 0
  if mine then
    claim[#claim + 1] = ARGV[index]
  end
end
if #claim > 5 then
  claim[#claim + 1] = 'JUSTID'
  redis.call(unpack(claim))
end
return renewed
