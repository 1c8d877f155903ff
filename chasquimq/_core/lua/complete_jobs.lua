#!lua flags=allow-oom
-- Acknowledges finished entries and stores their results, each pair in one step.
-- KEYS: stream, then one result key per entry.
-- ARGV: group, consumer ('' = whoever owns them), result lifetime in seconds, then per entry: id, result.
-- Returns: per entry 1 done, 0 not ours any more, 2 done but the server had no room for the result.
-- Sent twice: an entry that is gone answers 0 and its result stays as it is.
-- @include ack_and_delete
-- @include owns
local done = {}
for row = 1, (#ARGV - 3) / 2 do
  local id = ARGV[2 + 2 * row]
  local state = 0
  if owns(KEYS[1], ARGV[1], ARGV[2], id) and ack_and_delete(KEYS[1], ARGV[1], id) == 1 then
    -- pcall: a refused result must not undo the acknowledgement of work that is done.
    local stored = redis.pcall('SET', KEYS[1 + row], ARGV[3 + 2 * row], 'EX', ARGV[3])
    state = stored.err and 2 or 1
  end
  done[row] = state
end
return done
