-- One page of the search for the open jobs of a key, in id order.
-- uses: protocol try walk
-- KEYS[1] prefix of the shard
-- ARGV[1] partition, ARGV[2] key, ARGV[3] where to begin ('-' first), ARGV[4] entries to look at,
-- ARGV[5] bytes: no more is looked at once they had so many
-- Returns {owner record or '', where to go on or '' at the end, time {s, us}, standing of the owner, id, type, consumer it is pending for or '',
-- 1 if handed out, 1 if parked, retry record or '', ...}
local p, key = ARGV[1], ARGV[2]
local stream, record = K .. 'jobs:' .. p, try('HGET', K .. 'owner', p) or ''
local inc = string.match(record, '^(%S+) %d+$')
local group, last = group_of(stream, inc)
local parked_list = K .. 'parked:' .. p .. ':' .. key

local out = {record, '', redis.call('TIME'), standing(inc)}
local _, last_seen = walk(stream, ARGV[3], '+', tonumber(ARGV[4]), tonumber(ARGV[5]), function(e)
  local id, mine, kind = e[1], false, ''
  for i = 1, #e[2], 2 do
    if e[2][i] == 'key' then mine = e[2][i + 1] == key elseif e[2][i] == 'type' then kind = e[2][i + 1] end
  end
  if mine then
    local handed, parked, consumer = 0, 0, ''
    if not below(last, id) then
      handed = 1
      consumer = held_by(stream, group, id)
      if consumer == '' and try('LPOS', parked_list, id) then parked = 1 end
    end
    -- Handed out, and neither pending nor parked: it has ended and is not trimmed yet.
    if handed == 0 or consumer ~= '' or parked == 1 then
      for _, v in ipairs({id, kind, consumer, handed, parked, try('HGET', K .. 'retry:' .. p, id) or ''}) do out[#out + 1] = v end
    end
  end
end)
if last_seen then out[2] = '(' .. last_seen end
return out
