-- Reads new jobs of a partition. Those of keys that have jobs set aside are set aside behind these, in the same step.
-- uses: protocol park
-- KEYS[1] prefix of the shard
-- ARGV[1] incarnation, ARGV[2] partition, ARGV[3] epoch, ARGV[4] how many entries the caller gets at most,
-- ARGV[5] how many are read at most, ARGV[6] bytes: nothing more is read once there were so many
-- Returns {'FENCED'} | {'OK', how many were read, entries, {key, how many were set aside, first id, last id, bytes of
-- their payloads, of the largest}...}
local me, p, room, most, bytes = ARGV[1], ARGV[2], tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
if not owns(me, p, ARGV[3]) then return {'FENCED'} end
local stream, index = K .. 'jobs:' .. p, K .. 'parked:' .. p
local count, entries, sets, keys = 0, {}, {[''] = false}, {}

-- What is set aside of a key here, false if the key has none aside.
local function set_of(key)
  local set = sets[key]
  if set == nil then
    local has = redis.pcall('ZSCORE', index, key)
    set = type(has) == 'string' and {ids = {}, entries = {}, bytes = 0, largest = 0}
    sets[key] = set
    if set then keys[#keys + 1] = key end
  end
  return set
end

local function sort(e)
  local f, key, size = e[2], '', 0
  for i = 1, #f, 2 do
    if f[i] == 'key' then key = f[i + 1] elseif f[i] == 'payload' then size = #f[i + 1] end
  end
  bytes = bytes - size
  local set = set_of(key)
  if not set then
    entries[#entries + 1] = e
    return
  end
  set.ids[#set.ids + 1], set.entries[#set.entries + 1] = e[1], e
  set.bytes, set.largest = set.bytes + size, math.max(set.largest, size)
end

-- Nobody knows which jobs are whose before they are read: no more are than the caller has room for.
local piece, got
repeat
  piece, got = math.min(room - #entries, most - count), 0
  if piece > 0 and bytes > 0 then
    local read = redis.pcall('XREADGROUP', 'GROUP', me, me, 'COUNT', piece, 'STREAMS', stream, '>')
    if read and read.err and count == 0 then return read end
    for _, e in ipairs(read and read[1] and read[1][2] or {}) do
      sort(e)
      got = got + 1
    end
    count = count + got
  end
until got == 0 or got < piece

-- What cannot be set aside, since somebody damaged the list, the caller gets.
local out, spoiled = {'OK', count, entries}, false
for _, key in ipairs(keys) do
  local set = sets[key]
  if pcall(park_key, p, key, {unpack(set.ids)}) then
    redis.call('XACK', stream, me, unpack(set.ids))
    out[#out + 1] = {key, #set.ids, set.ids[1], set.ids[#set.ids], set.bytes, set.largest}
  else
    for _, e in ipairs(set.entries) do entries[#entries + 1] = e end
    spoiled = true
  end
end
if spoiled then table.sort(entries, function(a, b) return below(a[1], b[1]) end) end
return out
