-- Acknowledges and deletes entries. Per entry 1: done by this call; anything else: it was not pending any more.
local function ack_and_delete_all(stream, group, ids)
  return redis.call('XACKDEL', stream, group, 'IDS', #ids, unpack(ids))
end
