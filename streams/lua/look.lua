-- All that a leader must know of a shard, at one moment.
-- uses: protocol
-- KEYS[1] prefix of the shard
-- Returns {ring fields, members, leases left in ms by member, owners, plan, moves, the highest
-- phase each member replied to in the present ring epoch {member, phase, ...}, time {s, us}}
local members = redis.call('HGETALL', K .. 'members')
local left, replied = {}, {}
local lists, replies = {}, redis.call('HGETALL', K .. 'acks:' .. ring('epoch'))
for i = 1, #replies, 2 do lists[replies[i]] = replies[i + 1] end
for i = 1, #members, 2 do
  left[#left + 1] = redis.call('PTTL', K .. 'alive:' .. members[i])
  local list = lists[members[i]]
  for phase = list and 3 or 0, 1, -1 do
    if string.find(list, '"phase":' .. phase .. ',', 1, true) then
      replied[#replied + 1] = members[i]
      replied[#replied + 1] = phase
      break
    end
  end
end
return {redis.call('HGETALL', K .. 'ring'), members, left, redis.call('HGETALL', K .. 'owner'),
  redis.call('HGETALL', K .. 'plan'), redis.call('SMEMBERS', K .. 'moves'), replied, redis.call('TIME')}
