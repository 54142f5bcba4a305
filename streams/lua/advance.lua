-- The leader lets the barrier of mode ring go on, if nobody is missing: after an eviction, or because in
-- all shards of the queue everything stands still.
-- uses: protocol plan
-- KEYS[1] prefix of the shard, ARGV[1] term, ARGV[2] ring epoch of the shard that it saw: a call that comes
-- late speaks of another plan
-- Returns the phase, or 'STALE'
if stale(ARGV[1]) then return 'STALE' end
if ring('epoch') ~= ARGV[2] then return ring('phase') end
return advance(true)
