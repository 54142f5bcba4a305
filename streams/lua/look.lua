-- What a leader must know of a shard: a page of it, read at one moment.
-- uses: protocol page
-- KEYS[1] prefix of the shard
-- ARGV[1] cursor of the members, '0' at first, '' when all were read; ARGV[2] about how many
-- ARGV[3], ARGV[4] first and last partition, ARGV[5] their step: the shards of the queue
-- Returns {ring fields, members, leases left in ms by member, owners by partition, planned owners, the
-- highest phase each member replied to in the present ring epoch {member, phase, ...}, time {s, us},
-- cursor of the next members ('0': that was all)}
local out, epoch = {}, '0'
local names = {'epoch', 'phase', 'mode', 'term', 'generation', 'request', 'answered'}
for i, value in ipairs(redis.call('HMGET', K .. 'ring', unpack(names))) do
  if names[i] == 'epoch' and value then epoch = value end
  if value then
    out[#out + 1] = names[i]
    out[#out + 1] = value
  end
end
local page, left, replied = {'0', {}}, {}, {}
if ARGV[1] ~= '' then
  page = redis.call('HSCAN', K .. 'members', ARGV[1], 'COUNT', ARGV[2])
  local phases = K .. 'replied:' .. epoch
  local any = redis.call('EXISTS', phases) == 1
  for i = 1, #page[2], 2 do
    local inc = page[2][i]
    left[#left + 1] = redis.call('PTTL', K .. 'alive:' .. inc)
    local to = any and redis.pcall('HMGET', phases, inc .. ' 1', inc .. ' 2', inc .. ' 3') or {}
    for phase = 3, 1, -1 do
      if to[phase] then
        replied[#replied + 1] = inc
        replied[#replied + 1] = phase
        break
      end
    end
  end
end
local parts = page_of(ARGV[3], ARGV[4], ARGV[5])
return {out, page[2], left, of_parts(K .. 'owner', parts), of_parts(K .. 'plan', parts), replied, redis.call('TIME'), page[1]}
