-- Adds one job, once per idempotency key.
-- KEYS[1] prefix of the shard
-- ARGV[1] partition, ARGV[2] idempotency key, ARGV[3] fingerprint of the job, ARGV[4] memory in ms
-- ARGV[5..8] type, key, payload, meta, ARGV[9] partitions of the queue as the producer knows it
-- A memory of '- <fingerprint>' is a reservation for a job of another shard (see reserve).
-- Returns {job id "<p>-<entry>", 1 if it was there already}.
-- Errors: NOQUEUE, RECOUNTED (as enqueue), CONFLICT (the key was used for another job).
local K, p = KEYS[1], ARGV[1]
local memory = K .. 'idem:' .. ARGV[2]
local seen = redis.call('GET', memory)
if seen then
  local id, print = string.match(seen, '^(%S+) (.*)$')
  if print ~= ARGV[3] then
    return redis.error_reply('CONFLICT idempotency key was used for another job')
  end
  if id ~= '-' then return {id, 1} end
end
if redis.call('HEXISTS', K .. 'owner', p) == 0 then
  return redis.error_reply('NOQUEUE partition ' .. p .. ' has no record')
end
if redis.call('HGET', K .. 'ring', 'partitions') ~= ARGV[9] then
  return redis.error_reply('RECOUNTED the queue was made anew with another number of partitions')
end
local entry = redis.call('XADD', K .. 'jobs:' .. p, 'NOMKSTREAM', '*', 'type', ARGV[5], 'key', ARGV[6],
  'payload', ARGV[7], 'meta', ARGV[8])
if not entry then return redis.error_reply('NOQUEUE partition ' .. p .. ' has no stream') end
local id = p .. '-' .. entry
redis.call('SET', memory, id .. ' ' .. ARGV[3], 'PX', ARGV[4])
return {id, 0}
