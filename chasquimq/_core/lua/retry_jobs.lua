#!lua flags=allow-oom
-- Moves failed jobs from the stream into the delayed set, to run again later.
-- KEYS: stream, delayed, wake, events.
-- ARGV: group, consumer ('' = the leases are certain), events length ('' = none), then per job:
--       entry id, wait in ms, member, job id, dispatch name, number of the coming run.
-- Returns: per job 1 moved, 0 not ours any more.
-- Sent twice: a member that is there already stays there, and an entry that is gone answers 0.
-- The new place comes first: if it is refused (rights, memory), the jobs are still in the old one.
-- allow-oom: a job changes its place, the server's memory does not grow; a refusal would strand it.
-- @include ack_and_delete_all
-- @include owns
-- @include server_now_ms
-- @include wake_promoter
-- @include write_event
-- @include wrong_type
local refusal = wrong_type(KEYS[2], 'zset') or wrong_type(KEYS[3], 'list')
if refusal then
  return refusal
end
local now = server_now_ms()
local moved, rows, ids, added = {}, {}, {}, {}
for index = 4, #ARGV, 6 do
  local row = #moved + 1
  moved[row] = 0
  if owns(KEYS[1], ARGV[1], ARGV[2], ARGV[index]) then
    local place = #ids + 1
    ids[place], rows[place] = ARGV[index], row
    added[place] = redis.call('ZADD', KEYS[2], 'NX', string.format('%.0f', now + tonumber(ARGV[index + 1])),
      ARGV[index + 2])
  end
end
if #ids == 0 then
  return moved
end
local events = ARGV[3] ~= '' and KEYS[4] or ''
local ts = string.format('%.0f', now)
local earliest, earliest_wait
for place, done in ipairs(ack_and_delete_all(KEYS[1], ARGV[1], ids)) do
  local _, wait, member, job, name, run = unpack(ARGV, rows[place] * 6 - 2, rows[place] * 6 + 3)
  if done == 1 then
    moved[rows[place]] = 1
    if not earliest or tonumber(wait) < earliest_wait then
      earliest, earliest_wait = member, tonumber(wait)
    end
    if name == '' then
      write_event(events, ARGV[3], 'e', 'retry-scheduled', 'id', job, 'ts', ts, 'attempt', run, 'backoff_ms', wait)
    else
      write_event(events, ARGV[3], 'e', 'retry-scheduled', 'id', job, 'ts', ts, 'n', name, 'attempt', run,
        'backoff_ms', wait)
    end
  elseif added[place] == 1 then
    redis.call('ZREM', KEYS[2], member)
  end
end
if earliest then
  wake_promoter(KEYS[2], KEYS[3], earliest)
end
return moved
