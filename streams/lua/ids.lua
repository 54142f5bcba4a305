-- One page of the open jobs of a partition: entries that are not known to have ended. An entry that was
-- handed out is open while it is pending or parked; one that was not is open anyway.
-- uses: protocol try
-- KEYS[1] prefix of the shard, ARGV[1] partition, ARGV[2] where to begin ('-' first), ARGV[3] last id,
-- ARGV[4] entries to look at
-- Returns {where to go on or '' at the end, id, ...}
local p = ARGV[1]
local stream, record = K .. 'jobs:' .. p, try('HGET', K .. 'owner', p) or ''
local group, last = group_of(stream, string.match(record, '^(%S+) %d+$'))
local page = try('XRANGE', stream, ARGV[2], ARGV[3], 'COUNT', ARGV[4]) or {}
local on = ''
if #page > 0 and #page == tonumber(ARGV[4]) then on = '(' .. page[#page][1] end
local out = {on}

local function parked(fields, id)
  for i = 1, #fields, 2 do
    if fields[i] == 'key' then return try('LPOS', K .. 'parked:' .. p .. ':' .. fields[i + 1], id) end
  end
  return false
end

for _, e in ipairs(page) do
  if below(last, e[1]) or held_by(stream, group, e[1]) ~= '' or parked(e[2], e[1]) then out[#out + 1] = e[1] end
end
return out
