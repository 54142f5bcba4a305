-- The leader lets the barrier of mode ring go on, if nobody is missing: after an eviction, or because in
-- all shards of the queue everything stands still.
-- uses: protocol
-- KEYS[1] prefix of the shard, ARGV[1] term
-- Returns the phase, or 'STALE'
if stale(ARGV[1]) then return 'STALE' end
return advance(true)
