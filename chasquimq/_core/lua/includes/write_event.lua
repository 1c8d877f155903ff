-- Writes an event, best effort: events are the first thing to go when the server is full.
local function write_event(events, max_len, ...)
  if events ~= '' then
    redis.pcall('XADD', events, 'MAXLEN', '~', max_len, '*', ...)
  end
end
