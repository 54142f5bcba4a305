-- The leader removes a worker from the members, after looking once more.
-- uses: protocol retry death plan
-- KEYS[1] prefix of the shard
-- ARGV[1] term, ARGV[2] incarnation, ARGV[3] evidence: ttl | connection | deaf | silent | decided | dead
-- ARGV[4], ARGV[5] deaf: a partition and epoch it should have given up; ARGV[5], ARGV[6] silent: the ring
-- epoch and the phase it has not replied to; ARGV[7] connection: its last beat when its channel was
-- found without a subscriber. A later one is proof that it lives.
-- decided, dead: nothing is looked at. Of ttl, connection and dead a worker that was up has died.
-- Returns 'EVICTED' | 'GONE' | 'ALIVE' | 'STALE'. Its inbox goes too, which wakes its
-- blocked read: the worker learns at once that it is fenced.
if stale(ARGV[1]) then return 'STALE' end
local inc, evidence = ARGV[2], ARGV[3]
if not member(inc) then return 'GONE' end
local alive = K .. 'alive:' .. inc
if evidence == 'ttl' and redis.call('PTTL', alive) > 0 then return 'ALIVE' end
if evidence == 'connection' and redis.call('PUBSUB', 'NUMSUB', alive)[2] ~= 0 then return 'ALIVE' end
if evidence == 'connection' and last_beat(inc) ~= ARGV[7] then return 'ALIVE' end
if evidence == 'deaf' then
  if not owns(inc, ARGV[4], ARGV[5]) then return 'ALIVE' end
end
if evidence == 'silent' and (ring('epoch') ~= ARGV[5] or has_replied(inc, ARGV[5], ARGV[6])) then return 'ALIVE' end
if up(inc) and (evidence == 'ttl' or evidence == 'connection' or evidence == 'dead') then died(inc) end
remove_member(inc)
announce('evict', inc, '0', '{"evidence":"' .. evidence .. '"}')
return 'EVICTED'
