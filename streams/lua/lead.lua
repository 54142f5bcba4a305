-- Takes or renews the leadership of a queue's ring.
-- KEYS[1] prefix of the queue's first shard
-- ARGV[1] dispatcher, ARGV[2] lease in ms
-- Returns {term, leader}: the term is '0' when somebody else leads.
local K, me = KEYS[1], ARGV[1]
local leader = redis.call('HGET', K .. 'leader', 'dispatcher')
local term = redis.call('HGET', K .. 'leader', 'term')
local newest = redis.call('HGET', K .. 'ring', 'term')
-- Where records were lost and made again, the ring may know a higher term than the lease:
-- no script would obey the lease's, so a new one is taken.
if leader == me and (not newest or tonumber(newest) <= tonumber(term)) then
  redis.call('HSET', K .. 'leader', 'lease', ARGV[2])
  redis.call('PEXPIRE', K .. 'leader', ARGV[2])
  return {term, me}
end
if leader and leader ~= me then
  -- A lease that somebody wrote by hand without an end would hold the ring for ever, and
  -- one from before the server's clock went back for as long as it went.
  local lease = redis.call('HGET', K .. 'leader', 'lease') or ARGV[2]
  local left = redis.call('PTTL', K .. 'leader')
  if left == -1 or left > tonumber(lease) then redis.call('PEXPIRE', K .. 'leader', lease) end
  return {'0', leader}
end
if redis.call('HEXISTS', K .. 'ring', 'epoch') == 0 then return {'0', ''} end
term = string.format('%.0f', redis.call('HINCRBY', K .. 'ring', 'term', 1))
redis.call('DEL', K .. 'leader')
redis.call('HSET', K .. 'leader', 'dispatcher', me, 'term', term, 'lease', ARGV[2])
redis.call('PEXPIRE', K .. 'leader', ARGV[2])
return {term, me}
