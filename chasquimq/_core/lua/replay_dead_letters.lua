#!lua
-- Moves dead letters back into the stream with their attempts counted from zero.
-- KEYS: dlq, stream.
-- ARGV: per entry: dlq id, envelope, dispatch name ('' = none).
-- Returns: how many were moved.
-- Sent twice (or by two callers at once): an entry moves only with the call that deletes it.
-- @include wrong_type
local refusal = wrong_type(KEYS[2], 'stream')
if refusal then
  return refusal
end
local moved = 0
for index = 1, #ARGV, 3 do
  local id, envelope, name = unpack(ARGV, index, index + 2)
  -- The new place first: if it is refused (rights, memory), the letter is still in the old one.
  local entry
  if name == '' then
    entry = redis.call('XADD', KEYS[2], '*', 'd', envelope)
  else
    entry = redis.call('XADD', KEYS[2], '*', 'd', envelope, 'n', name)
  end
  if redis.call('XDEL', KEYS[1], id) == 1 then
    moved = moved + 1
  else
    redis.call('XDEL', KEYS[2], entry)
  end
end
return moved
