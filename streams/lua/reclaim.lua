-- Marks what is pending under a consumer that can end nothing: the owner takes it over.
-- uses: protocol retry death
-- KEYS[1] prefix of the shard, ARGV[1] partition, ARGV[2] consumer
-- Returns how many entries were marked, at most 256; 0 if the consumer is the owner, a member with a permit, or '!'
local p, consumer = ARGV[1], ARGV[2]
local inc, epoch = owner_of(p)
local former, since = string.match(consumer, '^(.*)@(%d+)$')
if not inc or consumer == '!' or consumer == inc or (former and member(former)) then return 0 end
local stream = K .. 'jobs:' .. p
local held = redis.pcall('XPENDING', stream, inc, '-', '+', '256', consumer)
if held.err then return 0 end
local ids = {}
for i, e in ipairs(held) do
  if former then count_crash(p, e[1], former, since) end -- who read by hand ran nothing
  ids[i] = e[1]
end
mark_pending(stream, inc, ids)
-- One hint is enough: whoever is told that an entry came back claims from the beginning.
if #ids > 0 then tell_of_job('undrained', inc, p, epoch, ids[1]) end
return #held
