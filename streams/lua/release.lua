-- A loser gives up one partition: its reply to phase 1 is the hand-over.
-- uses: protocol retry death plan flip
-- KEYS[1] prefix of the shard
-- ARGV[1] incarnation, ARGV[2] partition, ARGV[3] epoch, ARGV[4] '1' if the worker is leaving
-- ARGV[5..] ids it still runs; each that is pending under it becomes its permit
-- Returns {'FLIPPED', target, new epoch, cut, the caller's change number after it,
-- how many jobs somebody had deleted} | {'KEPT'} (the plan
-- gives it to the caller, or its target is not up) | {'FENCED'} | {'MISMATCH'}
local me, p, epoch = ARGV[1], ARGV[2], ARGV[3]
if not owns(me, p, epoch) then return {'FENCED'} end
local to = redis.call('HGET', K .. 'plan', p)
if not to or to == me or (to ~= '-' and not up(to)) then
  if ARGV[4] ~= '1' then
    if to == me then settle(p) end
    return {'KEPT'}
  end
  to = '-'
elseif to == '-' and ARGV[4] ~= '1' then
  return {'KEPT'}
end
local keep, running = {}, {}
for i = 5, #ARGV do
  keep[ARGV[i]] = true
  running[#running + 1] = ARGV[i]
end
local ne, cut, change, lost = flip(p, me, epoch, to, keep)
if not ne then return {cut} end
reply(me, ring('epoch'), '1', '{"epoch":"' .. ring('epoch') .. '","current_job":{"' .. p .. '":"' .. cut
  .. '"},"running":' .. quoted(running) .. '}')
return {'FLIPPED', to, ne, cut, change, lost}
