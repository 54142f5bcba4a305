-- Brings parked jobs of one key back, in order: they are pending again, under their old ids.
-- uses: protocol
-- KEYS[1] prefix of the shard
-- ARGV[1] incarnation, ARGV[2] partition, ARGV[3] epoch, ARGV[4] key, ARGV[5] how many
-- Returns {'FENCED'} | {'OK', how many stay parked, entries, their retry records, first id that stays}
-- FORCE would resurrect a finished job; only ids that leave the parked list in this very
-- step are claimed.
local me, p, key = ARGV[1], ARGV[2], ARGV[4]
local inc, epoch = owner_of(p)
if inc ~= me or epoch ~= ARGV[3] then return {'FENCED'} end
local stream, index = K .. 'jobs:' .. p, K .. 'parked:' .. p
local list = index .. ':' .. key
local ids = redis.call('LRANGE', list, 0, tonumber(ARGV[5]) - 1)
local entries, records = {}, {}
if #ids > 0 then
  local args = {'XCLAIM', stream, me, me, '0'}
  for _, id in ipairs(ids) do args[#args + 1] = id end
  args[#args + 1] = 'FORCE'
  entries = redis.call(unpack(args))
  for i, e in ipairs(entries) do records[i] = redis.call('HGET', K .. 'retry:' .. p, e[1]) or '' end
  redis.call('LTRIM', list, #ids, -1)
end
local first = redis.call('LINDEX', list, 0)
if first then
  redis.call('ZADD', index, string.match(first, '^(%d+)'), key)
else
  redis.call('ZREM', index, key)
end
return {'OK', redis.call('LLEN', list), entries, records, first or ''}
