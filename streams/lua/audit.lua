-- What an audit must know of some partitions of a shard, each at one moment.
-- uses: protocol try
-- KEYS[1] prefix of the shard, ARGV partitions
-- Returns for each partition: partition, owner record or '', planned owner or '', groups {name, ...},
-- last-delivered id of the owner's group, last id of the stream, entries ever added or -1 where the server
-- does not count them, consumers {name, pending, ...}, keys with parked jobs, type of the stream's key, newest entry's id
local out = {}
for _, p in ipairs(ARGV) do
  local stream, record, inc = K .. 'jobs:' .. p, owner_record(p)
  local group, last, top, there, added, newest = group_of(stream, inc)
  local groups, consumers = {}, {}
  if there then
    for i, g in ipairs(groups_in(try('XINFO', 'GROUPS', stream) or {})) do groups[i] = g[1] end
    local sum = group and try('XPENDING', stream, group)
    for _, c in ipairs(sum and sum[4] or {}) do
      consumers[#consumers + 1] = c[1]
      consumers[#consumers + 1] = tonumber(c[2])
    end
  end
  append(out, p, record, try('HGET', K .. 'plan', p) or '', groups, last, top, added, consumers,
    try('ZRANGE', K .. 'parked:' .. p, 0, 99) or {}, (try('TYPE', stream) or {}).ok or '', newest)
end
return out
