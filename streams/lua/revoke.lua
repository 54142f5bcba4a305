-- The leader takes a drainer's permit back: the entry is marked for reclaim.
-- uses: protocol retry death plan
-- KEYS[1] prefix of the shard
-- ARGV[1] term, ARGV[2] partition, ARGV[3] entry id, ARGV[4] consumer that holds it
-- Returns 'REVOKED' | 'GONE' (it holds it no longer) | 'STALE'
if stale(ARGV[1]) then return 'STALE' end
local p, id = ARGV[2], ARGV[3]
local inc, epoch = owner_of(p)
if not inc then return 'GONE' end
local stream = K .. 'jobs:' .. p
local e = pending_entry(stream, inc, id)
if not e or e[2] ~= ARGV[4] then return 'GONE' end
local former, since = string.match(ARGV[4], '^(.*)@(%d+)$')
if former then count_crash(p, id, former, since) end
mark_pending(stream, inc, {id})
tell_of_job('undrained', inc, p, epoch, id)
return 'REVOKED'
