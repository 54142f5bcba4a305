-- What a worker owns of some partitions, and what the plan says of them, read at one moment.
-- uses: protocol page
-- KEYS[1] prefix of the shard
-- ARGV[1] incarnation, ARGV[2], ARGV[3] first and last partition, ARGV[4] their step: the shards of the queue
-- Returns {'FENCED'} | {'OK', ring epoch, phase, mode, change number, {partition, epoch, planned owner, ...}}
-- Where epoch and change number are the same in several pages, nothing of the caller's has changed between
-- them: the pages together are its records at one moment.
local me = ARGV[1]
if not member(me) then return {'FENCED'} end
local parts, mine = page_of(ARGV[2], ARGV[3], ARGV[4]), {}
local prefix = me .. ' '
for i, owner in ipairs(of_parts(K .. 'owner', parts)) do
  -- A pattern with captures for each partition would make two strings of each.
  if owner and string.find(owner, prefix, 1, true) == 1 then
    mine[#mine + 1] = parts[i]
    mine[#mine + 1] = string.sub(owner, #prefix + 1)
    mine[#mine + 1] = redis.call('HGET', K .. 'plan', parts[i]) or '-'
  end
end
local out = stand_of(me)
out[#out + 1] = mine
return out
