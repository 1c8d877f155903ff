#!lua flags=allow-oom
-- Moves jobs from the stream to the dead-letter queue.
-- KEYS: stream, dlq, events.
-- ARGV: group, consumer ('' = the leases are certain), events length ('' = none), dlq length, then per job:
--       entry id, envelope, dispatch name, reason, detail, job id, number of the run that failed.
-- Returns: per job 1 moved, 0 not ours any more.
-- Sent twice: an entry that is gone answers 0 and is not written again.
-- allow-oom: the job changes its place, the server's memory does not grow; a refusal would strand it.
-- @include ack_and_delete
-- @include owns
-- @include server_now_ms
-- @include write_event
-- @include wrong_type
local refusal = wrong_type(KEYS[2], 'stream')
if refusal then
  return refusal
end
local moved = {}
local events = ARGV[3] ~= '' and KEYS[3] or ''
for index = 5, #ARGV, 7 do
  local id, envelope, name, reason, detail, job, run = unpack(ARGV, index, index + 6)
  local state = 0
  if owns(KEYS[1], ARGV[1], ARGV[2], id) then
    local fields = {'d', envelope}
    if name ~= '' then
      fields[3], fields[4] = 'n', name
    end
    local count = #fields
    fields[count + 1], fields[count + 2] = 'source_id', id
    fields[count + 3], fields[count + 4] = 'reason', reason
    if detail ~= '' then
      fields[count + 5], fields[count + 6] = 'detail', detail
    end
    -- The new place first: if it is refused (rights, memory), the job is still in the old one.
    local letter = redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[4], '*', unpack(fields))
    if ack_and_delete(KEYS[1], ARGV[1], id) == 1 then
      state = 1
    else
      redis.call('XDEL', KEYS[2], letter)
    end
  end
  if state == 1 then
    local ts = string.format('%.0f', server_now_ms())
    if name == '' then
      write_event(events, ARGV[3], 'e', 'dlq', 'id', job, 'ts', ts, 'attempt', run, 'reason', reason)
    else
      write_event(events, ARGV[3], 'e', 'dlq', 'id', job, 'ts', ts, 'n', name, 'attempt', run, 'reason', reason)
    end
  end
  moved[#moved + 1] = state
end
return moved
