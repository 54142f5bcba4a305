-- A worker becomes a member of the shard.
-- uses: protocol
-- KEYS[1] prefix of the shard
-- ARGV[1] incarnation, ARGV[2] member JSON ("state":"up" in it), ARGV[3] lease in ms, ARGV[4] value of
-- its liveness key, ARGV[5] lifetime of its inbox in ms, ARGV[6] its beat, as in heartbeat
-- Returns {'JOINED', ring epoch, phase, mode, generation, partitions} | {'TAKEN'} | {'NOQUEUE'}
local inc = ARGV[1]
if member(inc) then return {'TAKEN'} end
if redis.call('HEXISTS', K .. 'ring', 'epoch') == 0 then return {'NOQUEUE'} end
redis.call('HSET', K .. 'members', inc, ARGV[2])
redis.call('HSET', K .. 'change', inc, '0')
redis.pcall('HSET', K .. 'beats', inc, ARGV[6])
redis.call('SET', K .. 'alive:' .. inc, ARGV[4], 'PX', ARGV[3])
redis.call('DEL', K .. 'control:' .. inc)
redis.call('XGROUP', 'CREATE', K .. 'control:' .. inc, inc, '0', 'MKSTREAM')
redis.call('PEXPIRE', K .. 'control:' .. inc, ARGV[5])
announce('join', inc, '0', '{}')
return {'JOINED', ring('epoch'), ring('phase'), ring('mode'), ring('generation'), ring('partitions')}
