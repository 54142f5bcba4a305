-- Removes a dead letter for good.
-- KEYS[1] prefix of the shard
-- ARGV[1] partition, ARGV[2] job id, ARGV[3] JSON to keep as its result, ARGV[4] for how many ms
-- Returns 1, or 0 if there is no such dead letter.
local K = KEYS[1]
if redis.call('HDEL', K .. 'dead:' .. ARGV[1], ARGV[2]) == 0 then return 0 end
redis.call('SET', K .. 'result:' .. ARGV[2], ARGV[3], 'PX', ARGV[4])
return 1
