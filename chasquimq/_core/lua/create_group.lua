#!lua flags=allow-oom
-- Creates the consumer group, and the stream if there is none. Id 0: a new group sees the whole backlog.
-- KEYS: stream.
-- ARGV: group.
-- Returns: 1 created, 0 it was there.
-- Sent twice: the second finds it.
-- allow-oom: without its group a worker could not take jobs off a full server.
local reply = redis.pcall('XGROUP', 'CREATE', KEYS[1], ARGV[1], '0', 'MKSTREAM')
if not reply.err then
  return 1
end
if string.find(reply.err, 'BUSYGROUP', 1, true) then
  return 0
end
return reply
