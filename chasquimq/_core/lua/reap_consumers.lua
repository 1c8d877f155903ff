#!lua flags=allow-oom
-- Deletes consumers that nobody reads as any more: the names of workers that were killed.
-- KEYS: stream.
-- ARGV: group, consumer that stays, another one that stays, idle time in ms after which a consumer is dead.
-- Returns: how many were deleted.
-- Sent twice: the second finds none.
-- A consumer with pending entries stays: deleting it would lose them. They are taken over first, then it is empty.
local reply = redis.pcall('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])
if reply.err then
  return 0 -- no stream or no group: nobody to delete
end
local deleted = 0
for _, fields in ipairs(reply) do
  local about = {}
  for index = 1, #fields, 2 do
    about[fields[index]] = fields[index + 1]
  end
  if about.name ~= ARGV[2] and about.name ~= ARGV[3] and about.pending == 0 and about.idle >= tonumber(ARGV[4]) then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], about.name)
    deleted = deleted + 1
  end
end
return deleted
