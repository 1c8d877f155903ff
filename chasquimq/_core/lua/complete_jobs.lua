#!lua flags=allow-oom
-- Acknowledges finished entries and stores their results, each pair in one step.
-- KEYS: stream, then one result key per entry.
-- ARGV: group, consumer ('' = the leases are certain), result lifetime in seconds, then per entry: id, result.
-- Returns: per entry 1 done, 0 not ours any more, 2 done but the server had no room for the result.
-- Sent twice: an entry that is gone answers 0 and its result stays as it is.
-- @include ack_and_delete_all
-- @include owns
local done, rows, ids = {}, {}, {}
for row = 1, (#ARGV - 3) / 2 do
  local id = ARGV[2 + 2 * row]
  done[row] = 0
  if owns(KEYS[1], ARGV[1], ARGV[2], id) then
    ids[#ids + 1], rows[#rows + 1] = id, row
  end
end
if #ids == 0 then
  return done
end
for place, state in ipairs(ack_and_delete_all(KEYS[1], ARGV[1], ids)) do
  if state == 1 then
    local row = rows[place]
    -- pcall: a refused result must not undo the acknowledgement of work that is done.
    local stored = redis.pcall('SET', KEYS[1 + row], ARGV[3 + 2 * row], 'EX', ARGV[3])
    done[row] = stored.err and 2 or 1
  end
end
return done
