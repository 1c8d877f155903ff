#!lua
-- Adds jobs to the stream and tells of each with the event `waiting`.
-- KEYS: stream, events.
-- ARGV: events length, time of the events in ms, producer id ('' = none), then per job: id, envelope, dispatch name
--       ('' = none).
-- Returns: per job the id of its entry, or the error with which it was refused.
-- Sent twice: with a producer id the server drops the second of each job and of each event; without one, both are there
-- twice, so the caller does not send it again.
-- A job that was refused has no event. Events are best effort: one that is refused leaves its job alone.
-- @include add_once
local answers = {}
for index = 4, #ARGV, 3 do
  local id, envelope, name = ARGV[index], ARGV[index + 1], ARGV[index + 2]
  local named = name == '' and {} or {'n', name}
  local answer = add_once(KEYS[1], ARGV[3], id, '*', 'd', envelope, unpack(named))
  if type(answer) == 'string' then
    add_once(KEYS[2], ARGV[3], id, 'MAXLEN', '~', ARGV[1], '*', 'e', 'waiting', 'id', id, 'ts', ARGV[2], unpack(named))
  end
  answers[#answers + 1] = answer
end
return answers
