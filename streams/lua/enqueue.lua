-- Adds batches of jobs to partitions of one shard, each once per (producer, sequence).
-- KEYS[1] prefix of the shard
-- ARGV[1] producer id, ARGV[2] memory in ms, ARGV[3] partitions of the queue as the producer knows it,
-- then for each batch: partition, sequence, number of jobs, and type, key, payload of each job
-- Returns for each batch "<first id> <count> <1 if it was there already>", or why nothing of it was
-- added: STALE (a later batch of this producer was seen; this one was given up), NOQUEUE (the
-- partition has a record and no stream), or what the server said. The ids of a batch are consecutive: first, then the same ms with rising seq, so
-- (first, count) tells them all.
-- Errors, with nothing added: NOQUEUE, RECOUNTED (the queue was made anew with another number of partitions).
local K = KEYS[1]
local parts, from, at = {}, {}, 4
while at <= #ARGV do
  parts[#parts + 1], from[#from + 1] = ARGV[at], at
  at = at + 3 + 3 * tonumber(ARGV[at + 2])
end
local owners = redis.call('HMGET', K .. 'owner', unpack(parts))
for i, p in ipairs(parts) do
  if not owners[i] then return redis.error_reply('NOQUEUE partition ' .. p .. ' has no record') end
end
if redis.call('HGET', K .. 'ring', 'partitions') ~= ARGV[3] then
  return redis.error_reply('RECOUNTED the queue was made anew with another number of partitions')
end
local memory = K .. 'producer:' .. ARGV[1]
local seen = redis.call('HMGET', memory, unpack(parts))

-- All of a batch or nothing: takes what was added of it out again, and out of the count of all that ever were, by
-- which an audit finds what was lost.
local function undo(stream, first, last)
  local added = {}
  for i, e in ipairs(redis.call('XRANGE', stream, first, last)) do added[i] = e[1] end
  redis.call('XDEL', stream, unpack(added))
  local info, of = redis.pcall('XINFO', 'STREAM', stream), {}
  if info.err then return end
  for i = 1, #info, 2 do of[info[i]] = info[i + 1] end
  if of['entries-added'] then
    redis.pcall('XSETID', stream, of['last-generated-id'], 'ENTRIESADDED', of['entries-added'] - #added, 'MAXDELETEDID', of['max-deleted-entry-id'])
  end
end

-- One batch's answer, and whether it was added now. This loop is most of what a job costs: no global is looked up in it,
-- and that the stream is there is asked for the first job alone.
local try, type, ARGV = redis.pcall, type, ARGV
local function add(i)
  local a = from[i]
  local sequence, n = ARGV[a + 1], tonumber(ARGV[a + 2])
  if n < 1 then return 'ERR a batch of no jobs' end
  local seq, answer = string.match(seen[i] or '', '^(%d+) (.*)$')
  if seq == sequence then return answer .. ' 1' end
  if seq and tonumber(seq) > tonumber(sequence) then return 'STALE sequence ' .. sequence .. ' after ' .. seq end
  local stream, failed = K .. 'jobs:' .. parts[i], nil
  -- A second time where the first ids were the last of their millisecond.
  for _ = 1, 2 do
    local first = try('XADD', stream, 'NOMKSTREAM', '*', 'type', ARGV[a + 3], 'key', ARGV[a + 4], 'payload', ARGV[a + 5], 'meta', '')
    if not first then return 'NOQUEUE partition ' .. parts[i] .. ' has no stream' end
    if type(first) == 'table' then return first.err end
    local last, id = first, string.match(first, '^(%d+)') .. '-*'
    failed = nil
    for j = a + 6, a + 3 * n, 3 do
      local new = try('XADD', stream, id, 'type', ARGV[j], 'key', ARGV[j + 1], 'payload', ARGV[j + 2], 'meta', '')
      if type(new) == 'table' then
        failed = new.err
        break
      end
      last = new
    end
    if not failed then return first .. ' ' .. ARGV[a + 2], true end
    undo(stream, first, last)
  end
  return failed
end

local out, notes = {}, {}
for i, p in ipairs(parts) do
  local answer, added = add(i)
  if added then
    notes[#notes + 1], notes[#notes + 2] = p, ARGV[from[i] + 1] .. ' ' .. answer
    answer = answer .. ' 0'
  end
  out[i] = answer
end
if #notes > 0 then redis.call('HSET', memory, unpack(notes)) end
redis.call('PEXPIRE', memory, ARGV[2])
return out
