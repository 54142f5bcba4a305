-- Begins a new generation if the shard's server is another one than the records name: it was restarted, or a
-- replica took over, and the last writes may be gone.
-- uses: protocol gap
-- KEYS[1] prefix of the shard, ARGV[1] the server, as this connection sees it, ARGV[2] the caller's clock in ms
-- Returns {generation, '1' if this call began it}
-- Numbers that were given out before may be forgotten. So all of them jump, further than any tail that is
-- lost could reach: none is used twice, none falls, and every tenure is read anew. Owners stay: what they hold
-- stays in their pending lists, and they claim it under the new epoch. Ids jump too, to the present, so that
-- no job gets the id of one that is lost: by the server's clock, or the caller's where that is ahead, since the
-- server before may have had another.
-- What is lost may be a generation whole, as where a server is restored twice from one snapshot: so how far they
-- jump differs from time to time. Who knows the higher numbers sees that these have fallen.
local JUMP = 1000 -- or a multiple
local AHEAD = 60000 -- ms: the caller's clock is not followed further
if redis.call('HEXISTS', K .. 'ring', 'epoch') == 0 then return {'0', ''} end
local known = redis.call('HGET', K .. 'ring', 'server')
if known == ARGV[1] then return {ring('generation'), ''} end
if not known then
  redis.call('HSET', K .. 'ring', 'server', ARGV[1])
  return {ring('generation'), ''}
end
local ms, before = clock(), tonumber(ring('generation'))
local generation = string.format('%.0f', math.max(math.floor(ms / 1000), before + 1))
redis.call('HINCRBY', K .. 'ring', 'failovers', 1)
local jump = JUMP * (1 + ms % 251)
redis.call('HINCRBY', K .. 'ring', 'epoch', string.format('%.0f', jump))
local owners = redis.call('HGETALL', K .. 'owner')
for i = 1, #owners, 2 do
  local stream = K .. 'jobs:' .. owners[i]
  ids_from(owners[i], stream, math.max(ms - 1, math.min(tonumber(ARGV[2]), ms + AHEAD)))
  local inc, epoch = string.match(owners[i + 1], '^(%S+) (%d+)$')
  if inc then redis.call('HSET', K .. 'owner', owners[i], inc .. ' ' .. string.format('%.0f', tonumber(epoch) + jump)) end
end
for _, inc in ipairs(redis.call('HKEYS', K .. 'members')) do redis.call('HINCRBY', K .. 'change', inc, string.format('%.0f', jump)) end
-- Last: who may not do all of this has not done it.
redis.call('HSET', K .. 'ring', 'server', ARGV[1], 'generation', generation)
announce('alarm', 'Master', '0', '{"alarm":"another server answers: generation ' .. generation .. ' begins"}')
return {generation, '1'}
