-- Keys of a partition that may stand still.
-- uses: protocol try
-- KEYS[1] prefix of the shard, ARGV[1] partition, ARGV[2] how many at most
-- Returns the keys of parked jobs, of jobs with a retry record, and of jobs under a permit; some may repeat,
-- and of large jobs not all are looked at
local p, limit = ARGV[1], tonumber(ARGV[2])
local stream, _, group = K .. 'jobs:' .. p, owner_record(p)
local out = try('ZRANGE', K .. 'parked:' .. p, 0, limit - 1) or {}

local bytes = 4194304 -- of entries that are read for their keys: nobody else is served meanwhile
local function add(id)
  local entry = #out < limit and bytes > 0 and (try('XRANGE', stream, id, id) or {})[1]
  if not entry then return end
  for i = 2, #entry[2], 2 do bytes = bytes - #entry[2][i] end
  out[#out + 1] = field_of(entry[2], 'key')
end

for _, id in ipairs((try('HSCAN', K .. 'retry:' .. p, '0', 'COUNT', limit) or {'0', {}})[2]) do
  if string.find(id, '^%d+%-%d+$') then add(id) end
end
local sum = group and try('XPENDING', stream, group)
for _, c in ipairs(sum and sum[4] or {}) do
  if string.find(c[1], '@', 1, true) then
    for _, e in ipairs(try('XPENDING', stream, group, '-', '+', limit, c[1]) or {}) do add(e[1]) end
  end
end
return out
