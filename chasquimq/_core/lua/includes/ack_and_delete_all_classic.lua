-- Acknowledges and deletes entries. Per entry 1: done by this call; anything else: it was not pending any more.
local function ack_and_delete_all(stream, group, ids)
  local done = {}
  for index, id in ipairs(ids) do
    done[index] = redis.call('XACK', stream, group, id)
    if done[index] == 1 then
      redis.call('XDEL', stream, id)
    end
  end
  return done
end
