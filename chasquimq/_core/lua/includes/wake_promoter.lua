-- Leaves one token for the promoter if `member` is now the earliest of the delayed set.
local function wake_promoter(delayed, wake, member)
  if redis.call('ZRANGE', delayed, 0, 0)[1] == member and redis.call('LLEN', wake) == 0 then
    redis.call('RPUSH', wake, '1')
    redis.call('PEXPIRE', wake, 60000)
  end
end
