-- The permits of drainers in some partitions of a shard.
-- uses: protocol
-- KEYS[1] prefix of the shard, ARGV partitions (at most 256)
-- Returns {partition, entry id, consumer, ...}
local out = {}
for _, p in ipairs(ARGV) do
  local inc = owner_of(p)
  local stream = K .. 'jobs:' .. p
  local sum = inc and redis.pcall('XPENDING', stream, inc)
  if sum and not sum.err and sum[4] then
    for _, h in ipairs(sum[4]) do
      if string.find(h[1], '@', 1, true) then
        for _, e in ipairs(redis.call('XPENDING', stream, inc, '-', '+', 1000, h[1])) do
          out[#out + 1] = p
          out[#out + 1] = e[1]
          out[#out + 1] = h[1]
        end
      end
    end
  end
end
return out
