-- Renews a worker's lease and inbox.
-- uses: protocol
-- KEYS[1] prefix of the shard
-- ARGV[1] incarnation, ARGV[2] lease in ms, ARGV[3] lifetime of its inbox in ms, ARGV[4] value of its liveness key
-- ARGV[5] '<number> <reach in ms>': which beat it is, and how long the worker takes to connect
-- Returns {'OK', ring epoch, phase, mode, change number} | {'FENCED'}
-- A lease that ran out while the worker is still a member comes back: only an eviction ends it.
-- PEXPIRE first: it never needs memory.
local inc = ARGV[1]
if not member(inc) then
  redis.pcall('HDEL', K .. 'deaths', inc) -- it was taken for dead, and is not
  return {'FENCED'}
end
if redis.call('PEXPIRE', K .. 'control:' .. inc, ARGV[3]) == 0 then return {'FENCED'} end
if redis.call('PEXPIRE', K .. 'alive:' .. inc, ARGV[2]) == 0 then
  redis.call('SET', K .. 'alive:' .. inc, ARGV[4], 'PX', ARGV[2])
end
redis.pcall('HSET', K .. 'beats', inc, ARGV[5])
return stand_of(inc)
