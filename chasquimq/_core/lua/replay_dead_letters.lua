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
  if redis.call('XDEL', KEYS[1], ARGV[index]) == 1 then
    if ARGV[index + 2] == '' then
      redis.call('XADD', KEYS[2], '*', 'd', ARGV[index + 1])
    else
      redis.call('XADD', KEYS[2], '*', 'd', ARGV[index + 1], 'n', ARGV[index + 2])
    end
    moved = moved + 1
  end
end
return moved
