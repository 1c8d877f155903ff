#!lua flags=allow-oom
-- Acknowledges and deletes entries that are still leased to this consumer.
-- KEYS: stream.
-- ARGV: group, consumer ('' = whoever owns them), entry ids.
-- Returns: per entry 1 done, 0 not ours any more.
-- Sent twice: an entry that is gone answers 0.
-- @include ack_and_delete
-- @include owns
local done = {}
for index = 3, #ARGV do
  local id = ARGV[index]
  done[#done + 1] = owns(KEYS[1], ARGV[1], ARGV[2], id) and ack_and_delete(KEYS[1], ARGV[1], id) or 0
end
return done
