-- Trims the streams of partitions that the caller owns, below their low-water marks.
-- uses: protocol trim
-- KEYS[1] prefix of the shard
-- ARGV[1] incarnation, then partition and epoch of each
-- Returns nothing
for i = 2, #ARGV, 2 do
  if redis.call('HGET', K .. 'owner', ARGV[i]) == ARGV[1] .. ' ' .. ARGV[i + 1] then
    trim(ARGV[1], ARGV[i], K .. 'jobs:' .. ARGV[i])
  end
end
