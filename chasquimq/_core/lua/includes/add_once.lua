-- XADD; with a producer id the server drops what that producer has added under the same id before. The reply, errors too.
local function add_once(stream, producer, id, ...)
  if producer == '' then
    return redis.pcall('XADD', stream, ...)
  end
  return redis.pcall('XADD', stream, 'IDMP', producer, id, ...)
end
