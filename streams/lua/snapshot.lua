-- What a worker owns of some partitions, and what the plan says of them, read at one moment.
-- uses: protocol
-- KEYS[1] prefix of the shard
-- ARGV[1] incarnation, ARGV[2], ARGV[3] first and last partition, ARGV[4] their step: the shards of the queue
-- Returns {'FENCED'} | {'OK', ring epoch, phase, mode, change number, {partition, epoch, planned owner, ...}}
-- Where epoch and change number are the same in several pages, nothing of the caller's has changed between
-- them: the pages together are its records at one moment.
local me = ARGV[1]
if not member(me) then return {'FENCED'} end
local parts, mine = {}, {}
for p = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]) do parts[#parts + 1] = p end
local prefix = me .. ' '
for i, owner in ipairs(#parts > 0 and redis.call('HMGET', K .. 'owner', unpack(parts)) or {}) do
  -- A pattern with captures for each partition would make two strings of each.
  if owner and string.find(owner, prefix, 1, true) == 1 then
    local p = string.format('%.0f', parts[i])
    mine[#mine + 1] = p
    mine[#mine + 1] = string.sub(owner, #prefix + 1)
    mine[#mine + 1] = redis.call('HGET', K .. 'plan', p) or '-'
  end
end
return {'OK', ring('epoch'), ring('phase'), ring('mode'), redis.call('HGET', K .. 'change', me) or '0', mine}
