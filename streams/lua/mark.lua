-- Notes that a suspect is about to start, by the owner of the partition.
-- uses: protocol retry
-- KEYS[1] prefix of the shard
-- ARGV[1] incarnation, ARGV[2] partition, ARGV[3] epoch, ARGV[4] entry id, ARGV[5] how many run in the
-- worker with it while it is held apart, 0 among any number, ARGV[6] for how many ms it is held apart
-- Returns 'OK' | 'FENCED'
local p, epoch, id = ARGV[2], ARGV[3], ARGV[4]
if not owns(ARGV[1], p, epoch) then return 'FENCED' end
local r = retry_record(p, id)
r.mark = 's.' .. epoch
if ARGV[5] ~= '0' then
  r.mark = 'a' .. ARGV[5] .. '.' .. epoch .. '.' .. string.format('%.0f', clock() + tonumber(ARGV[6]))
end
redis.call('HSET', K .. 'retry:' .. p, id, retry_text(r))
return 'OK'
