-- The refusal for a key that another program uses for something else; nil if all is well. Asked before the first
-- write: a script that fails half-way has removed a job from one place and not put it into the other.
local function wrong_type(key, wanted)
  local found = redis.call('TYPE', key).ok
  if found ~= 'none' and found ~= wanted then
    return redis.error_reply('WRONGTYPE ' .. key .. ' holds a ' .. found .. ', not a ' .. wanted)
  end
end
