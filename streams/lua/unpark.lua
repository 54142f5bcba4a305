-- Brings parked jobs of one key back, in order: they are pending again, under their old ids.
-- uses: protocol
-- KEYS[1] prefix of the shard
-- ARGV[1] incarnation, ARGV[2] partition, ARGV[3] epoch, ARGV[4] key, ARGV[5] how many, ARGV[6] bytes: no more
-- entries follow once there are so many
-- Returns {'FENCED'} | {'OK', how many stay parked, entries, their retry records, first id that stays}
-- FORCE would resurrect a finished job; only ids that leave the parked list in this very
-- step are claimed.
local me, p, key = ARGV[1], ARGV[2], ARGV[4]
local inc, epoch = owner_of(p)
if inc ~= me or epoch ~= ARGV[3] then return {'FENCED'} end
local stream, index = K .. 'jobs:' .. p, K .. 'parked:' .. p
local list = index .. ':' .. key
local entries, records, taken, size = {}, {}, 0, 0
for _, id in ipairs(redis.call('LRANGE', list, 0, tonumber(ARGV[5]) - 1)) do
  if size >= tonumber(ARGV[6]) then break end
  local e = redis.call('XCLAIM', stream, me, me, '0', id, 'FORCE')[1]
  if e and e[2] then
    entries[#entries + 1] = e
    records[#entries] = redis.call('HGET', K .. 'retry:' .. p, id) or ''
    for _, field in ipairs(e[2]) do size = size + #field end
  end
  taken = taken + 1
end
if taken > 0 then redis.call('LTRIM', list, taken, -1) end
local first = redis.call('LINDEX', list, 0)
if first then
  redis.call('ZADD', index, string.match(first, '^(%d+)'), key)
else
  redis.call('ZREM', index, key)
end
return {'OK', redis.call('LLEN', list), entries, records, first or ''}
