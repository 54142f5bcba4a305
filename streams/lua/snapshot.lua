-- What a worker owns and what the plan says of it.
-- uses: protocol
-- KEYS[1] prefix of the shard, ARGV[1] incarnation
-- Returns {'FENCED'} | {'OK', ring epoch, phase, mode, change number, {partition, epoch, planned owner, ...}}
local me = ARGV[1]
if not member(me) then return {'FENCED'} end
local mine = {}
local owners = redis.call('HGETALL', K .. 'owner')
for i = 1, #owners, 2 do
  local inc, epoch = string.match(owners[i + 1], '^(%S+) (%d+)$')
  if inc == me then
    mine[#mine + 1] = owners[i]
    mine[#mine + 1] = epoch
    mine[#mine + 1] = redis.call('HGET', K .. 'plan', owners[i]) or '-'
  end
end
return {'OK', ring('epoch'), ring('phase'), ring('mode'), redis.call('HGET', K .. 'change', me) or '0', mine}
