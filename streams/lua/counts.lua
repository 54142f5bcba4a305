-- The counts of some partitions of a shard.
-- uses: protocol try walk
-- KEYS[1] prefix of the shard
-- ARGV[1] '1' to count waiting, parked and dead too, ARGV[2..] partitions
-- Returns for each partition: partition, owner record or '', pending, of these held by drainers, waiting,
-- parked, dead. What is not asked for is 0.
local SCAN, KEYS_MAX = 256, 1000
local bytes = 1048576 -- of entries that are read only to be counted

local function parked_in(p)
  local n = 0
  local keys = try('ZRANGE', K .. 'parked:' .. p, 0, KEYS_MAX - 1) or {}
  for _, key in ipairs(keys) do n = n + (try('LLEN', K .. 'parked:' .. p .. ':' .. key) or 0) end
  if #keys == KEYS_MAX then n = n + (try('ZCARD', K .. 'parked:' .. p) or 0) - KEYS_MAX end
  return n
end

-- Entries above the last one handed out. Entries below it that have ended may still be there, so a
-- bounded number of them is counted; beyond that the known ones are taken off.
local function waiting_in(stream, last, newest, known)
  local n = try('XLEN', stream) or 0
  if n == 0 or not below(last, newest) then return 0 end
  local first = (try('XRANGE', stream, '-', '+', 'COUNT', 1) or {})[1]
  if not first or below(last, first[1]) then return n end
  local handed, more = walk(stream, '-', last, SCAN, bytes, function(e)
    for i = 2, #e[2], 2 do bytes = bytes - #e[2][i] end
  end)
  if more then handed = math.max(handed, known) end
  return math.max(n - handed, 0)
end

local out = {}
for i = 2, #ARGV do
  local p = ARGV[i]
  local stream, record, inc = K .. 'jobs:' .. p, owner_record(p)
  local group, last, _, there, _, newest = group_of(stream, inc)
  local pending, draining, waiting, parked, dead = 0, 0, 0, 0, 0
  local sum = there and group and try('XPENDING', stream, group)
  if sum then
    pending = sum[1]
    for _, h in ipairs(sum[4] or {}) do
      if string.find(h[1], '@', 1, true) then draining = draining + tonumber(h[2]) end
    end
  end
  if ARGV[1] == '1' then
    parked, dead = parked_in(p), try('HLEN', K .. 'dead:' .. p) or 0
    if there then waiting = waiting_in(stream, last, newest, pending + parked) end
  end
  append(out, p, record, pending, draining, waiting, parked, dead)
end
return out
