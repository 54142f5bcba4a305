-- One page of what a new owner takes over, in id order, and what it must know of the partition.
-- uses: protocol
-- KEYS[1] prefix of the shard
-- ARGV[1] incarnation, ARGV[2] partition, ARGV[3] epoch, ARGV[4] cursor ('0-0' first; '*' first, and nothing
-- is known of what is pending for the caller itself: it is claimed with the rest), ARGV[5] page size,
-- ARGV[6] bytes of a page: it ends before the entry that would go beyond, unless that is its first
-- Returns {'FENCED'} | {'OK', next cursor, entries, retry records of the entries, ids whose message is
-- gone, permits {id, consumer, key}..., {key with parked jobs, first of them, ...}, last-delivered id, generation, clock in ms}
-- A cursor of '0-0' ends the pass.
local me, p = ARGV[1], ARGV[2]
if not owns(me, p, ARGV[3]) then return {'FENCED'} end
local stream = K .. 'jobs:' .. p
local cursor = ARGV[4]
if cursor == '*' then
  cursor = '0-0'
  local start = '-'
  while start do
    local mine = redis.call('XPENDING', stream, me, start, '+', 1000, me)
    local ids = {}
    for i, e in ipairs(mine) do ids[i] = e[1] end
    mark_pending(stream, me, ids)
    start = #mine == 1000 and mine[1000][1] or nil
  end
end
local page = redis.call('XAUTOCLAIM', stream, me, me, '10000000000', cursor, 'COUNT', ARGV[5])
-- The size is known once they are claimed: what is too much is marked again, for the next page.
local size, most = 0, tonumber(ARGV[6])
for i, e in ipairs(page[2]) do
  for _, field in ipairs(e[2] or {}) do size = size + #field end
  if size > most and i > 1 then
    local ids = {}
    page[1] = e[1]
    for _ = i, #page[2] do ids[#ids + 1] = table.remove(page[2])[1] end
    mark_pending(stream, me, ids)
    break
  end
end
local records = {}
if #page[2] > 0 and redis.call('EXISTS', K .. 'retry:' .. p) == 1 then
  for i, e in ipairs(page[2]) do records[i] = redis.call('HGET', K .. 'retry:' .. p, e[1]) or '' end
end
local permits = {}
local holders = redis.call('XPENDING', stream, me)[4]
for _, h in ipairs(holders or {}) do
  if string.find(h[1], '@', 1, true) then
    for _, e in ipairs(redis.call('XPENDING', stream, me, '-', '+', 1000, h[1])) do
      local entry = redis.call('XRANGE', stream, e[1], e[1])[1]
      permits[#permits + 1] = {e[1], h[1], entry and field_of(entry[2], 'key') or ''}
    end
  end
end
local last = delivered(stream, me) or '0-0'
for _, id in ipairs(page[3] or {}) do
  local first = id_before(id)
  if first then note_deleted(p, first, id) end
end

-- Jobs that were deleted while they waited: all that lay between the newest deleted id and the entry before
-- it, or what was handed out. Once a later job is handed out nobody can tell them from those that have ended.
local function look_for_deleted()
  local newest = field_of(redis.pcall('XINFO', 'STREAM', stream), 'max-deleted-entry-id')
  if not newest or not below(last, newest) then return end
  local before_it = redis.call('XREVRANGE', stream, '(' .. newest, '-', 'COUNT', 1)[1]
  local first = before_it and below(last, before_it[1]) and before_it[1] or last
  if note_deleted(p, first, newest) then
    alarm(me, p, 'waiting jobs were deleted from the stream')
  end
end

local parked = {}
if ARGV[4] == '0-0' or ARGV[4] == '*' then
  look_for_deleted()
  for _, key in ipairs(redis.call('ZRANGE', K .. 'parked:' .. p, 0, -1)) do
    parked[#parked + 1] = key
    parked[#parked + 1] = redis.call('LINDEX', K .. 'parked:' .. p .. ':' .. key, 0) or '0-0'
  end
end
return {'OK', page[1], page[2], records, page[3] or {}, permits, parked, last, ring('generation'),
  string.format('%.0f', clock())}
