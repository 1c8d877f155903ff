-- Whether the entry is pending for this consumer. Without a name the lease is certain: no look.
local function owns(stream, group, consumer, id)
  return consumer == '' or #redis.call('XPENDING', stream, group, id, id, 1, consumer) == 1
end
