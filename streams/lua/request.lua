-- Asks the leader for a resize, or takes the question back.
-- uses: protocol
-- KEYS[1] prefix of the queue's first shard
-- ARGV[1] request id, ARGV[2] mode, ARGV[3] 'withdraw' or ''
-- Returns {'ASKED', request that will be answered} (an open one of the same mode is joined) |
-- {'BUSY', mode of the open one} | {'WITHDRAWN'} | {'NOQUEUE'} | {'NOWORKER'} (nobody to plan for)
if redis.call('HEXISTS', K .. 'ring', 'epoch') == 0 then return {'NOQUEUE'} end
local id, mode = ARGV[1], ARGV[2]
local open, answered = redis.call('HGET', K .. 'ring', 'request') or '', redis.call('HGET', K .. 'ring', 'answered') or ''
local old_id, old_mode = string.match(open, '^(%S+) (%S+)$')
local waits = old_id and string.match(answered, '^(%S+)') ~= old_id
if ARGV[3] == 'withdraw' then
  if old_id == id and waits then redis.call('HDEL', K .. 'ring', 'request') end
  return {'WITHDRAWN'}
end
if waits and old_mode ~= mode then return {'BUSY', old_mode} end
if waits then return {'ASKED', old_id} end
local workers = false
for _, inc in ipairs(redis.call('HKEYS', K .. 'members')) do workers = workers or up(inc) end
if not workers then return {'NOWORKER'} end
redis.call('HSET', K .. 'ring', 'request', id .. ' ' .. mode)
announce('request', 'Master', '0', '{"id":"' .. id .. '","mode":"' .. mode .. '"}')
return {'ASKED', id}
