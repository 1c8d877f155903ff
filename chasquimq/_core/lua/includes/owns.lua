-- Whether the entry is pending for this consumer; an empty consumer name means: for anybody.
local function owns(stream, group, consumer, id)
  if consumer == '' then
    return #redis.call('XPENDING', stream, group, id, id, 1) == 1
  end
  return #redis.call('XPENDING', stream, group, id, id, 1, consumer) == 1
end
