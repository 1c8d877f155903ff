-- Acknowledges and deletes one entry. 1: done by this call; anything else: it was not pending any more.
local function ack_and_delete(stream, group, id)
  return redis.call('XACKDEL', stream, group, 'IDS', 1, id)[1]
end
