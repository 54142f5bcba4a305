-- A worker says that it will leave, or that it has.
-- uses: protocol plan
-- KEYS[1] prefix of the shard
-- ARGV[1] incarnation, ARGV[2] member JSON with "state":"leaving", or '' when it has left
-- Returns 'OK' | 'GONE'
local inc = ARGV[1]
if not member(inc) then return 'GONE' end
if ARGV[2] ~= '' then
  redis.call('HSET', K .. 'members', inc, ARGV[2])
  announce('leave', inc, '0', '{"state":"leaving"}')
else
  remove_member(inc)
  announce('leave', inc, '0', '{"state":"left"}')
  advance()
end
return 'OK'
