-- One page of the search for the open jobs of a key, in id order.
-- uses: protocol try walk
-- KEYS[1] prefix of the shard
-- ARGV[1] partition, ARGV[2] key, ARGV[3] where to begin ('-' first), ARGV[4] entries to look at,
-- ARGV[5] bytes: no more is looked at once they had so many
-- Returns {owner record or '', where to go on or '' at the end, time {s, us}, standing of the owner, id, type, consumer it is pending for or '',
-- 1 if handed out, 1 if parked, retry record or '', ...}
local p, key = ARGV[1], ARGV[2]
local stream, record, inc = K .. 'jobs:' .. p, owner_record(p)
local group, last = group_of(stream, inc)
local parked_list = K .. 'parked:' .. p .. ':' .. key

local out = {record, '', redis.call('TIME'), standing(inc)}
local _, last_seen = walk(stream, ARGV[3], '+', tonumber(ARGV[4]), tonumber(ARGV[5]), function(e)
  local id = e[1]
  if field_of(e[2], 'key') == key then
    local kind = field_of(e[2], 'type') or ''
    local handed, parked, consumer = 0, 0, ''
    if not below(last, id) then
      handed = 1
      consumer = held_by(stream, group, id)
      if consumer == '' and try('LPOS', parked_list, id) then parked = 1 end
    end
    -- Handed out, and neither pending nor parked: it has ended and is not trimmed yet.
    if handed == 0 or consumer ~= '' or parked == 1 then
      append(out, id, kind, consumer, handed, parked, try('HGET', K .. 'retry:' .. p, id) or '')
    end
  end
end)
if last_seen then out[2] = '(' .. last_seen end
return out
