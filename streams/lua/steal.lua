-- The leader flips a partition on behalf of an owner that is no longer a member.
-- uses: protocol retry death plan flip
-- KEYS[1] prefix of the shard
-- ARGV[1] term, ARGV[2] partition, ARGV[3] owner as last seen, ARGV[4] its epoch, ARGV[5] target
-- Returns {'FLIPPED', new epoch, how many jobs somebody had deleted} | {'STALE'} | {'CONFLICT', why} | {'MISMATCH'}
local p, from, epoch, to = ARGV[2], ARGV[3], ARGV[4], ARGV[5]
if stale(ARGV[1]) then return {'STALE'} end
if not owns(from, p, epoch) then return {'CONFLICT', 'owner changed'} end
if from ~= '-' and member(from) then return {'CONFLICT', 'owner is a member'} end
if redis.call('HGET', K .. 'plan', p) ~= to then return {'CONFLICT', 'plan changed'} end
if to == '-' or not up(to) then return {'CONFLICT', 'target is not up'} end
local ne, why, _, lost = flip(p, from, epoch, to, {})
if not ne then return {why} end
return {'FLIPPED', ne, lost}
