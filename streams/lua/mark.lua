-- Writes retry records of jobs that are about to start, by the owner of the partition.
-- uses: protocol
-- KEYS[1] prefix of the shard
-- ARGV[1] incarnation, ARGV[2] partition, ARGV[3] epoch, ARGV[4..] id, record
-- Returns 'OK' | 'FENCED'
local inc, epoch = owner_of(ARGV[2])
if inc ~= ARGV[1] or epoch ~= ARGV[3] then return 'FENCED' end
for i = 4, #ARGV, 2 do redis.call('HSET', K .. 'retry:' .. ARGV[2], ARGV[i], ARGV[i + 1]) end
return 'OK'
