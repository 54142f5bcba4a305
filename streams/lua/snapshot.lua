-- What a worker owns and what the plan says of it.
-- uses: protocol
-- KEYS[1] prefix of the shard, ARGV[1] incarnation
-- Returns {'FENCED'} | {'OK', ring epoch, phase, mode, change number, {partition, epoch, planned owner, ...}}
local me = ARGV[1]
if not member(me) then return {'FENCED'} end
local mine = {}
local owners = redis.call('HGETALL', K .. 'owner')
local prefix = me .. ' '
for i = 2, #owners, 2 do
  -- A pattern with captures for each partition of the ring would make two strings of each.
  if string.find(owners[i], prefix, 1, true) == 1 then
    local p = owners[i - 1]
    mine[#mine + 1] = p
    mine[#mine + 1] = string.sub(owners[i], #prefix + 1)
    mine[#mine + 1] = redis.call('HGET', K .. 'plan', p) or '-'
  end
end
return {'OK', ring('epoch'), ring('phase'), ring('mode'), redis.call('HGET', K .. 'change', me) or '0', mine}
