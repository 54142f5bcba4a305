-- The leader looks whether the barrier of mode ring can go on, after an eviction.
-- uses: protocol
-- KEYS[1] prefix of the shard, ARGV[1] term
-- Returns the phase, or 'STALE'
if stale(ARGV[1]) then return 'STALE' end
return advance()
