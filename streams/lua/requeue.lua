-- Puts a dead letter back at the end of its partition, as a new job.
-- KEYS[1] prefix of the shard
-- ARGV[1] partition, ARGV[2] job id of the dead letter, ARGV[3..6] type, key, payload, meta
-- ARGV[7] JSON object to keep as the old id's result, ARGV[8] for how many ms
-- Returns {new entry's id} | {'', result kept of the id, or ''} if there is no such dead letter.
-- Errors: NOQUEUE. The result says under which id the job lives on: a repeat finds it there.
local K, p, full = KEYS[1], ARGV[1], ARGV[2]
if redis.call('HEXISTS', K .. 'dead:' .. p, full) == 0 then
  return {'', redis.call('GET', K .. 'result:' .. full) or ''}
end
if redis.call('HEXISTS', K .. 'owner', p) == 0 then
  return redis.error_reply('NOQUEUE partition ' .. p .. ' has no record')
end
local id = redis.call('XADD', K .. 'jobs:' .. p, 'NOMKSTREAM', '*', 'type', ARGV[3], 'key', ARGV[4], 'payload', ARGV[5], 'meta', ARGV[6])
if not id then return redis.error_reply('NOQUEUE partition ' .. p .. ' has no stream') end
redis.call('HDEL', K .. 'dead:' .. p, full)
redis.call('SET', K .. 'result:' .. full, string.sub(ARGV[7], 1, -2) .. ',"requeued_as":"' .. p .. '-' .. id .. '"}', 'PX', ARGV[8])
return {id}
