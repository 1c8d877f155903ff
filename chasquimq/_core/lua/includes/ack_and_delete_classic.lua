-- Acknowledges and deletes one entry. 1: done by this call; anything else: it was not pending any more.
local function ack_and_delete(stream, group, id)
  if redis.call('XACK', stream, group, id) ~= 1 then
    return 0
  end
  redis.call('XDEL', stream, id)
  return 1
end
