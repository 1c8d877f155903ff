#!lua flags=allow-oom
-- Moves failed jobs from the stream into the delayed set, to run again later.
-- KEYS: stream, delayed, wake, events.
-- ARGV: group, consumer ('' = whoever owns them), events length ('' = none), then per job:
--       entry id, wait in ms, member, job id, dispatch name, number of the coming run.
-- Returns: per job 1 moved, 0 not ours any more.
-- Sent twice: an entry that is gone answers 0 and is not scheduled again.
-- allow-oom: the job changes its place, the server's memory does not grow; a refusal would strand it.
-- @include ack_and_delete
-- @include owns
-- @include server_now_ms
-- @include wake_promoter
-- @include write_event
-- @include wrong_type
local refusal = wrong_type(KEYS[2], 'zset') or wrong_type(KEYS[3], 'list')
if refusal then
  return refusal
end
local moved = {}
local now = server_now_ms()
local events = ARGV[3] ~= '' and KEYS[4] or ''
for index = 4, #ARGV, 6 do
  local id, wait, member, job, name, run = unpack(ARGV, index, index + 5)
  local state = 0
  if owns(KEYS[1], ARGV[1], ARGV[2], id) then
    -- The new place first: if it is refused (rights, memory), the job is still in the old one.
    local added = redis.call('ZADD', KEYS[2], string.format('%.0f', now + tonumber(wait)), member)
    if ack_and_delete(KEYS[1], ARGV[1], id) == 1 then
      state = 1
    elseif added == 1 then
      redis.call('ZREM', KEYS[2], member)
    end
  end
  if state == 1 then
    wake_promoter(KEYS[2], KEYS[3], member)
    local ts = string.format('%.0f', now)
    if name == '' then
      write_event(events, ARGV[3], 'e', 'retry-scheduled', 'id', job, 'ts', ts, 'attempt', run, 'backoff_ms', wait)
    else
      write_event(events, ARGV[3], 'e', 'retry-scheduled', 'id', job, 'ts', ts, 'n', name, 'attempt', run,
        'backoff_ms', wait)
    end
  end
  moved[#moved + 1] = state
end
return moved
