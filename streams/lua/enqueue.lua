-- Adds a batch of jobs to one partition, once per (producer, sequence).
-- KEYS[1] prefix of the shard
-- ARGV[1] partition, ARGV[2] producer id, ARGV[3] sequence, ARGV[4] memory in ms
-- ARGV[5] partitions of the queue as the producer knows it, ARGV[6..] type, key, payload, meta of each job
-- Returns {first id, count, 1 if this batch was there already}. The ids of a batch are
-- consecutive: first, then the same ms with rising seq, so (first, count) tells them all.
-- Errors: NOQUEUE, RECOUNTED (the queue was made anew with another number of partitions), STALE (a later batch of this producer was seen; this one was given up).
local K, p = KEYS[1], ARGV[1]
if redis.call('HEXISTS', K .. 'owner', p) == 0 then
  return redis.error_reply('NOQUEUE partition ' .. p .. ' has no record')
end
if redis.call('HGET', K .. 'ring', 'partitions') ~= ARGV[5] then
  return redis.error_reply('RECOUNTED the queue was made anew with another number of partitions')
end
local memory = K .. 'producer:' .. ARGV[2]
local last = redis.call('HGET', memory, p)
if last then
  local seq, id, n = string.match(last, '^(%d+) (%S+) (%d+)$')
  if seq == ARGV[3] then return {id, tonumber(n), 1} end
  if seq and tonumber(seq) > tonumber(ARGV[3]) then
    return redis.error_reply('STALE sequence ' .. ARGV[3] .. ' after ' .. seq)
  end
end
local stream, first, rest = K .. 'jobs:' .. p, nil, '*'
for i = 6, #ARGV, 4 do
  local id = redis.call('XADD', stream, rest, 'type', ARGV[i], 'key', ARGV[i + 1],
    'payload', ARGV[i + 2], 'meta', ARGV[i + 3])
  if not first then
    first = id
    rest = string.match(id, '^(%d+)') .. '-*'
  end
end
local n = (#ARGV - 5) / 4
redis.call('HSET', memory, p, ARGV[3] .. ' ' .. first .. ' ' .. string.format('%.0f', n))
redis.call('PEXPIRE', memory, ARGV[4])
return {first, n, 0}
