-- Begins a new generation if the shard's server is another one than the records name: it was restarted, or a
-- replica took over, and the last writes may be gone.
-- uses: protocol
-- KEYS[1] prefix of the shard, ARGV[1] the server, as this connection sees it
-- Returns {generation, '1' if this call began it}
-- Numbers that were given out before may be forgotten. So all of them jump, further than any tail that is
-- lost could reach: none is used twice, none falls, and every tenure is read anew. Owners stay: what they hold
-- stays in their pending lists, and they claim it under the new epoch.
local JUMP = 1000
if redis.call('HEXISTS', K .. 'ring', 'epoch') == 0 then return {'0', ''} end
local known = redis.call('HGET', K .. 'ring', 'server')
if known == ARGV[1] then return {ring('generation'), ''} end
redis.call('HSET', K .. 'ring', 'server', ARGV[1])
if not known then return {ring('generation'), ''} end
local now, before = tonumber(redis.call('TIME')[1]), tonumber(ring('generation'))
local generation = string.format('%.0f', math.max(now, before + 1))
redis.call('HSET', K .. 'ring', 'generation', generation)
redis.call('HINCRBY', K .. 'ring', 'failovers', 1)
redis.call('HINCRBY', K .. 'ring', 'epoch', JUMP)
local owners = redis.call('HGETALL', K .. 'owner')
for i = 1, #owners, 2 do
  local inc, epoch = string.match(owners[i + 1], '^(%S+) (%d+)$')
  if inc then redis.call('HSET', K .. 'owner', owners[i], inc .. ' ' .. string.format('%.0f', tonumber(epoch) + JUMP)) end
end
for _, inc in ipairs(redis.call('HKEYS', K .. 'members')) do redis.call('HINCRBY', K .. 'change', inc, JUMP) end
announce('alarm', 'Master', '0', '{"alarm":"another server answers: generation ' .. generation .. ' begins"}')
return {generation, '1'}
