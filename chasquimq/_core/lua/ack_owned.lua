#!lua flags=allow-oom
-- Acknowledges and deletes entries that are still leased to this consumer.
-- KEYS: stream.
-- ARGV: group, consumer ('' = the leases are certain), entry ids.
-- Returns: per entry 1 done, 0 not ours any more.
-- Sent twice: an entry that is gone answers 0.
-- @include ack_and_delete_all
-- @include owns
local done, places, ids = {}, {}, {}
for index = 3, #ARGV do
  local place = index - 2
  done[place] = 0
  if owns(KEYS[1], ARGV[1], ARGV[2], ARGV[index]) then
    ids[#ids + 1], places[#places + 1] = ARGV[index], place
  end
end
if #ids == 0 then
  return done
end
for index, state in ipairs(ack_and_delete_all(KEYS[1], ARGV[1], ids)) do
  done[places[index]] = state == 1 and 1 or 0
end
return done
