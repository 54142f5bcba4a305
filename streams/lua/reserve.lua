-- Reserves an idempotency key, where its job goes to another shard: for one job, whoever sends it.
-- KEYS[1] prefix of the shard that the idempotency key itself belongs to
-- ARGV[1] idempotency key, ARGV[2] fingerprint of the job, ARGV[3] memory in ms, ARGV[4] partitions of the queue
-- Returns 1, or 0 if the same job had reserved it before. The job is added by enqueue_once in its own shard, which
-- is to be called in either case: whoever reserved it may have died before that.
-- Errors: NOQUEUE, RECOUNTED, CONFLICT (as enqueue_once).
local K = KEYS[1]
local memory = K .. 'idem:' .. ARGV[1]
local seen = redis.call('GET', memory)
if seen and string.match(seen, '^%S+ (.*)$') ~= ARGV[2] then
  return redis.error_reply('CONFLICT idempotency key was used for another job')
end
if seen then
  -- The other shard's memory may begin only now; this one must not end before it.
  redis.call('PEXPIRE', memory, ARGV[3])
  return 0
end
local partitions = redis.call('HGET', K .. 'ring', 'partitions')
if not partitions then return redis.error_reply('NOQUEUE the shard has no records') end
if partitions ~= ARGV[4] then
  return redis.error_reply('RECOUNTED the queue was made anew with another number of partitions')
end
redis.call('SET', memory, '- ' .. ARGV[2], 'PX', ARGV[3])
return 1
