-- The leader looks at members whose liveness channel nobody holds, and may ask them for a beat.
-- uses: protocol retry death
-- KEYS[1] prefix of the shard
-- ARGV[1] how many of them, from the first on, are asked; ARGV[2..] incarnations
-- Returns {subscribers of its channel, its last beat '<number> <reach in ms> <end of its lease>' ('': none), ...} in that order
local out = {}
for i = 2, #ARGV do
  local inc = ARGV[i]
  out[#out + 1] = redis.call('PUBSUB', 'NUMSUB', K .. 'alive:' .. inc)[2]
  out[#out + 1] = last_beat(inc)
  if i <= ARGV[1] + 1 and member(inc) then tell(inc, 'beat', '0', '{}') end
end
return out
