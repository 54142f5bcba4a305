-- Makes the groups of some partitions agree with their owner records.
-- uses: protocol plan gap
-- KEYS[1] prefix of the shard, ARGV[1] the leader's term, or '@' and an incarnation for its own partitions
-- only, ARGV[2..] partitions (at most 256)
-- Returns 'STALE' or a list of partition, what was mended. A missing group is made again
-- at 0: what was read before is read again rather than never. Other groups of a job
-- stream hold nothing: flip moved their entries before it named a new owner.
local only = string.match(ARGV[1], '^@(.*)$')
if not only and stale(ARGV[1]) then return 'STALE' end
local out = {}
for i = 2, #ARGV do
  local p = ARGV[i]
  local inc = owner_of(p)
  if inc and (not only or only == inc) then
    local stream, found = K .. 'jobs:' .. p, false
    local there = redis.call('EXISTS', stream) == 1
    if there then
      for _, g in ipairs(groups_in(redis.call('XINFO', 'GROUPS', stream))) do
        if g[1] == inc then
          found = true
        else
          redis.call('XGROUP', 'DESTROY', stream, g[1])
          out[#out + 1] = p
          out[#out + 1] = 'destroyed group ' .. g[1]
        end
      end
    end
    if not found then
      redis.call('XGROUP', 'CREATE', stream, inc, '0', 'MKSTREAM')
      if not there then note_gap(p, stream, clock() - 1) end
      alarm(inc, p, 'group of the owner was gone: reading from 0')
      out[#out + 1] = p
      out[#out + 1] = 'created group ' .. inc .. ' at 0'
    end
  end
end
return out
