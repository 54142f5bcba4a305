-- Brings parked jobs of some keys of a partition back, each in order: they are pending again, under their old ids.
-- uses: protocol
-- KEYS[1] prefix of the shard
-- ARGV[1] incarnation, ARGV[2] partition, ARGV[3] epoch, ARGV[4..] key, how many
-- Returns {'FENCED'} | {'OK', for each key {how many stay parked, entries, their retry records, first id that stays}...}
-- FORCE would resurrect a finished job; only ids that leave the parked list in this very
-- step are claimed.
local me, p = ARGV[1], ARGV[2]
local inc, epoch = owner_of(p)
if inc ~= me or epoch ~= ARGV[3] then return {'FENCED'} end
local stream, index, retry = K .. 'jobs:' .. p, K .. 'parked:' .. p, K .. 'retry:' .. p
local retries = redis.call('EXISTS', retry) == 1

local function bring(key, count)
  local list = index .. ':' .. key
  local ids = redis.call('LRANGE', list, 0, count) -- one more: the first that stays
  local first = ids[count + 1]
  ids[count + 1] = nil
  local entries, records = {}, {}
  if #ids > 0 then
    local args = {'XCLAIM', stream, me, me, '0'}
    for _, id in ipairs(ids) do args[#args + 1] = id end
    args[#args + 1] = 'FORCE'
    entries = redis.call(unpack(args))
    for i, e in ipairs(entries) do records[i] = retries and redis.call('HGET', retry, e[1]) or '' end
    redis.call('LTRIM', list, #ids, -1)
  end
  if not first then
    redis.call('ZREM', index, key)
    return {0, entries, records, ''}
  end
  redis.call('ZADD', index, string.match(first, '^(%d+)'), key)
  return {redis.call('LLEN', list), entries, records, first}
end

local out = {'OK'}
for i = 4, #ARGV, 2 do out[#out + 1] = bring(ARGV[i], tonumber(ARGV[i + 1])) end
return out
