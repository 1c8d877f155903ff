-- Whether the entry is pending for this consumer. An empty consumer name means: do not ask.
local function owns(stream, group, consumer, id)
  if consumer == '' then
    return true
  end
  return #redis.call('XPENDING', stream, group, id, id, 1, consumer) == 1
end
