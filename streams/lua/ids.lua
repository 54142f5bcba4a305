-- One page of the open jobs of a partition: entries that are not known to have ended. An entry that was
-- handed out is open while it is pending or parked; one that was not is open anyway.
-- uses: protocol try
-- KEYS[1] prefix of the shard, ARGV[1] partition, ARGV[2] where to begin ('-' first), ARGV[3] last id,
-- ARGV[4] entries to look at; fewer when they are large
-- Returns {where to go on or '' at the end, id, key, ...}
local p, from, want = ARGV[1], ARGV[2], tonumber(ARGV[4])
local stream, _, inc = K .. 'jobs:' .. p, owner_record(p)
local group, last = group_of(stream, inc)
local out = {''}

-- The list of a key is in id order: a search by halves, since it may be long.
local function parked(key, id)
  local list = K .. 'parked:' .. p .. ':' .. key
  local low, high = 0, (try('LLEN', list) or 0) - 1
  while low <= high do
    local mid = math.floor((low + high) / 2)
    local there = try('LINDEX', list, mid)
    if not there or there == id then return there == id end
    if below(there, id) then low = mid + 1 else high = mid - 1 end
  end
  return false
end

local seen, bytes = 0, 0
while seen < want and bytes < 1048576 do
  local page = try('XRANGE', stream, from, ARGV[3], 'COUNT', 10) or {}
  for _, e in ipairs(page) do
    local key = field_of(e[2], 'key') or ''
    for _, text in ipairs(e[2]) do bytes = bytes + #text end
    if below(last, e[1]) or held_by(stream, group, e[1]) ~= '' or parked(key, e[1]) then
      out[#out + 1] = e[1]
      out[#out + 1] = key
    end
  end
  if #page < 10 then return out end
  seen = seen + #page
  from = '(' .. page[#page][1]
end
out[1] = from
return out
