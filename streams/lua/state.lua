-- Everything Redis knows of one job.
-- uses: protocol try
-- KEYS[1] prefix of the shard, ARGV[1] partition, ARGV[2] entry id
-- Returns nil if the partition has neither a record nor a stream, else {owner, consumer it is pending for
-- or '', retry record or '', dead letter or '', result or '', fields of the entry, last-delivered id, last
-- id of the stream, 1 if parked, gaps of the partition if nothing is left of the job, standing of the owner,
-- what was deleted of the partition, likewise}
local p, id = ARGV[1], ARGV[2]
local stream = K .. 'jobs:' .. p
local _, inc = owner_record(p)
local group, last, top, there = group_of(stream, inc)
if not inc and not there then return false end
local consumer = held_by(stream, group, id)
local entry = (try('XRANGE', stream, id, id) or {})[1]
local parked = 0
if entry and consumer == '' then
  local key = field_of(entry[2], 'key')
  if key and try('LPOS', K .. 'parked:' .. p .. ':' .. key, id) then parked = 1 end
end
local full = p .. '-' .. id
local gone = not entry and consumer == ''
local gaps = gone and try('HGET', K .. 'gaps', p) or ''
local deleted = gone and try('HGET', K .. 'deleted', p) or ''
return {inc or '-', consumer, try('HGET', K .. 'retry:' .. p, id) or '', try('HGET', K .. 'dead:' .. p, full) or '',
  try('GET', K .. 'result:' .. full) or '', entry and entry[2] or {}, last, top, parked, gaps, standing(inc), deleted}
