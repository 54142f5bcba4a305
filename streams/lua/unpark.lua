-- Brings parked jobs of some keys of a partition back, each in order: they are pending again, under their old ids.
-- uses: protocol
-- KEYS[1] prefix of the shard
-- ARGV[1] incarnation, ARGV[2] partition, ARGV[3] epoch, ARGV[4] bytes: no more entries follow once there are so many,
-- of all keys together; ARGV[5..] key, how many
-- Returns {'FENCED'} | {'OK', clock in ms, for each key {how many stay parked, entries, their retry records, first id that stays,
-- how many stay parked no more}...}; of a key whose list cannot be read how many is -1, and the first id is the error
-- FORCE would resurrect a finished job; only ids that leave the parked list in this very
-- step are claimed.
local me, p, room = ARGV[1], ARGV[2], tonumber(ARGV[4])
if not owns(me, p, ARGV[3]) then return {'FENCED'} end
local stream, index, retry = K .. 'jobs:' .. p, K .. 'parked:' .. p, K .. 'retry:' .. p
local retries = redis.call('EXISTS', retry) == 1

local piece = 16 -- neighbours in the stream are looked up together, as long as a key's jobs are neighbours

-- The entries of the first of some ids, as many as there is room for, and how many ids that are: of
-- what somebody has deleted there is no entry.
local function first_of(ids)
  local entries, at = {}, 1
  while at <= #ids and room > 0 do
    local last = math.min(at + piece - 1, #ids)
    local found, i = redis.call('XRANGE', stream, ids[at], ids[last], 'COUNT', last - at + 1), 1
    while room > 0 and found[i] and found[i][1] == ids[at] do
      entries[#entries + 1] = found[i]
      for f = 2, #found[i][2], 2 do room = room - #found[i][2][f] end
      at, i = at + 1, i + 1
    end
    if piece > 1 then
      if at <= last then piece = 1 end
    elseif i == 1 then
      local first = id_before(ids[at])
      if first then note_deleted(p, first, ids[at]) end
      at = at + 1
    end
  end
  return entries, at - 1
end

local function bring(key, count)
  local list = index .. ':' .. key
  local entries, taken = first_of(room > 0 and redis.call('LRANGE', list, 0, count - 1) or {})
  local records, ids = {}, {}
  for i, e in ipairs(entries) do
    ids[i], records[i] = e[1], retries and redis.call('HGET', retry, e[1]) or ''
  end
  for first = 1, #ids, 1000 do
    local claim = {unpack(ids, first, math.min(first + 999, #ids))}
    claim[#claim + 1] = 'FORCE'
    claim[#claim + 1] = 'JUSTID'
    redis.call('XCLAIM', stream, me, me, '0', unpack(claim))
  end
  if taken > 0 then redis.call('LTRIM', list, taken, -1) end
  local first = redis.call('LINDEX', list, 0)
  if not first then
    redis.call('ZREM', index, key)
    return {0, entries, records, '', taken}
  end
  if taken > 0 then redis.call('ZADD', index, string.match(first, '^(%d+)'), key) end
  return {redis.call('LLEN', list), entries, records, first, taken}
end

local out = {'OK', string.format('%.0f', clock())}
for i = 5, #ARGV, 2 do
  local done, row = pcall(bring, ARGV[i], tonumber(ARGV[i + 1])) -- a list that somebody damaged stops no other key
  out[#out + 1] = done and row or {-1, {}, {}, type(row) == 'table' and row.err or row, 0}
end
return out
