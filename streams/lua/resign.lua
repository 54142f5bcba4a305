-- Gives the leadership up, so that a standby need not wait for the lease to end.
-- KEYS[1] prefix of the queue's first shard, ARGV[1] dispatcher
-- Returns 1 if it was the leader.
if redis.call('HGET', KEYS[1] .. 'leader', 'dispatcher') ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1] .. 'leader')
