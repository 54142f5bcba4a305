-- Ends runs: the only way a job completes, fails, dies or is parked.
-- uses: protocol park retry
-- KEYS[1] prefix of the shard
-- ARGV[1] incarnation, ARGV[2] lifetime of results in ms, ARGV[3] '1' if the queue keeps a journal,
-- ARGV[4] number of the call, rising, or '' if it does no harm to be executed late
-- ARGV[5] number of partitions, then these; then for each of them: epoch, '1' to delete what is acked, '-' to
-- leave the stream untrimmed, '1-' for both, number
-- of plain ids, these ids, number of other ends, and for each of those: outcome, id, attempt, key, type, data, '1' if
-- it has a retry record
-- Returns a string for each partition, one letter for each id in order:
-- O done by the owner, D done by a drainer, F pending for another; pending for nobody: U if the
-- caller owns the partition, G if not; F also for a job that was to be parked if the caller is no member any more.
-- On U, G and F nothing is written. A plain end by the
-- owner writes nothing but its ack, so it is not looked up: repeated, it answers O again.
-- Error LATE: a later call was executed; this one was given up, and repeated, long ago.
local me, ttl, journal, call = ARGV[1], ARGV[2], ARGV[3] == '1', ARGV[4]
local count = tonumber(ARGV[5])
local at = 6 + count
local some_parked = false -- in any of the partitions; this script brings none back
local function next_arg()
  at = at + 1
  return ARGV[at - 1]
end

local function effects(p, id, o, epoch)
  local full = p .. '-' .. id
  if o.outcome == 'C' then
    if o.data ~= '' then redis.call('SET', K .. 'result:' .. full, o.data, 'PX', ttl) end
  elseif o.outcome == 'X' then
    redis.call('HSET', K .. 'dead:' .. p, full, o.data)
  elseif o.outcome == 'P' then
    park_key(p, o.key, {id})
    return
  end
  if o.retry == '1' then redis.call('HDEL', K .. 'retry:' .. p, id) end
  if journal then
    redis.call('XADD', K .. 'journal:' .. p, '*', 'id', full, 'key', o.key, 'type', o.type, 'outcome', o.outcome,
      'attempt', o.attempt, 'worker', me, 'epoch', epoch)
  end
end

-- One end by whoever holds the entry; holder is the consumer name of the run.
local function finish_one(p, stream, owner, oe, holder, drainer, epoch, o)
  local held = pending_entry(stream, owner, o.id)
  if not held then return drainer and 'G' or 'U' end
  if held[2] ~= holder then return 'F' end
  if o.outcome == 'F' or o.outcome == 'B' then
    if o.outcome == 'F' then redis.call('HSET', K .. 'retry:' .. p, o.id, from_now(o.data)) end
    if drainer then
      mark_pending(stream, owner, {o.id})
      tell_of_job('undrained', owner, p, oe, o.id)
    end
    return drainer and 'D' or 'O'
  end
  if drainer and o.outcome == 'P' then return 'F' end
  -- It is pending, so the ack will count. A record that cannot be written leaves the job as it is.
  effects(p, o.id, o, epoch)
  redis.call('XACK', stream, owner, o.id)
  if drainer then tell_of_job('drained', owner, p, oe, o.id) end
  return drainer and 'D' or 'O'
end

-- Jobs that the owner sets aside, all of a partition together: parks[i] is an id, of the key of[i],
-- and its letter is letters[at[i]].
local function park_all(p, stream, epoch, parks, of, at, letters)
  local low, high = parks[1], parks[1]
  for i = 2, #parks do
    if before(high, parks[i]) then high = parks[i] elseif before(parks[i], low) then low = parks[i] end
  end
  local mine, lists, keys, ids = {}, {}, {}, {}
  for _, e in ipairs(redis.call('XPENDING', stream, me, low, high, 4000, me)) do mine[e[1]] = true end
  for i, id in ipairs(parks) do
    if mine[id] then
      local list = lists[of[i]]
      if not list then
        list = {}
        lists[of[i]], keys[#keys + 1] = list, of[i]
      end
      list[#list + 1], ids[#ids + 1], letters[at[i]] = id, id, 'O'
    else
      letters[at[i]] = finish_one(p, stream, me, epoch, me, false, epoch, {outcome = 'P', id = id, key = of[i]})
    end
  end
  some_parked = true
  for _, key in ipairs(keys) do park_key(p, key, lists[key]) end
  for first = 1, #ids, 1000 do
    redis.call('XACK', stream, me, unpack(ids, first, math.min(first + 999, #ids)))
  end
end

-- The low-water mark: nothing below it is pending or parked, and everything below it was
-- handed out. The group says what was: what the caller has read is not asked, since a server
-- that went back in time has handed out less. Returns an error of the server, if there is one.
local EXACT = 2 ^ 53
local function trim(p, stream)
  local pend = redis.pcall('XPENDING', stream, me)
  if pend.err then return end
  local mark = pend[2]
  if pend[1] == 0 then
    local last = delivered(stream, me)
    if not last then return end
    local ms, seq = string.match(last, '^(%d+)-(%d+)$')
    mark = #seq < 16 and ms .. '-' .. string.format('%.0f', tonumber(seq) + 1) or last
  end
  if some_parked then
    local parked = redis.pcall('ZRANGE', K .. 'parked:' .. p, 0, 0, 'WITHSCORES')
    if parked.err then return parked end
    local first = parked[2] and tonumber(parked[2])
    if first then
      -- The index holds floating numbers: a time of more than 53 bits was rounded, by 1,024 at most.
      if first >= EXACT then first = first - 2048 end
      first = string.format('%.0f', first) .. '-0'
      if below(first, mark) then mark = first end
    end
  end
  local done = redis.pcall('XTRIM', stream, 'MINID', '=', mark)
  return type(done) == 'table' and done
end

-- Trimming is not needed for any end: it never undoes one. What hinders it is told once a minute.
local function try_to_trim(p, stream)
  local failed = trim(p, stream)
  if not failed then return end
  local now, told = seconds(), redis.pcall('HGET', K .. 'ring', 'untrimmed')
  if type(told) == 'string' and tonumber(now) < (tonumber(told) or 0) + 60 then return end
  redis.pcall('HSET', K .. 'ring', 'untrimmed', now)
  alarm(me, p, 'stream is not trimmed: ' .. string.gsub(failed.err, '[%c"\\]', ' '))
end

-- What a repeated call parked may have come back since: parked once more by the first one, it
-- would be in two places, and run twice.
if call ~= '' and member(me) then
  local newest = redis.call('HGET', K .. 'calls', me)
  if newest and tonumber(call) <= tonumber(newest) then
    return redis.error_reply('LATE call ' .. call .. ' of ' .. me .. ' after ' .. newest)
  end
  redis.call('HSET', K .. 'calls', me, call)
end

local out, parked = {}, {}
for i = 1, count do parked[i] = K .. 'parked:' .. ARGV[5 + i] end
some_parked = redis.call('EXISTS', unpack(parked)) > 0
local records = redis.call('HMGET', K .. 'owner', unpack(ARGV, 6, 5 + count))
for i = 1, count do
  local p, epoch, how, n = ARGV[5 + i], next_arg(), next_arg(), tonumber(next_arg())
  local pinned, untrimmed = string.find(how, '1', 1, true), string.find(how, '-', 1, true)
  local stream = K .. 'jobs:' .. p
  local own = records[i] == me .. ' ' .. epoch
  local owner, oe = me, epoch
  if not own then owner, oe = string.match(records[i] or '', '^(%S+) (%d+)$') end
  local letters, gone = {}, nil
  if own and not journal then
    local letter = 'O'
    for first = at, at + n - 1, 1000 do
      local acked = redis.pcall('XACK', stream, me, unpack(ARGV, first, math.min(first + 999, at + n - 1)))
      if type(acked) == 'table' then letter = 'U' end
    end
    letters[1] = string.rep(letter, n)
    if letter == 'O' and pinned then gone = {unpack(ARGV, at, at + n - 1)} end
    at = at + n
  else
    for _ = 1, n do
      local o = {id = next_arg(), outcome = 'C', data = '', key = '', type = '', attempt = '1', retry = ''}
      if not owner then
        letters[#letters + 1] = 'G'
      else
        letters[#letters + 1] = finish_one(p, stream, owner, oe, own and me or me .. '@' .. epoch, not own, epoch, o)
      end
    end
  end
  local parks, keys, places = {}, {}, {}
  for _ = 1, tonumber(next_arg()) do
    if own and ARGV[at] == 'P' then
      letters[#letters + 1] = ''
      parks[#parks + 1], keys[#keys + 1], places[#places + 1] = ARGV[at + 1], ARGV[at + 3], #letters
      at = at + 7
    else
      local o = {outcome = next_arg(), id = next_arg(), attempt = next_arg(), key = next_arg(), type = next_arg(),
        data = next_arg(), retry = next_arg()}
      local l = owner and finish_one(p, stream, owner, oe, own and me or me .. '@' .. epoch, not own, epoch, o) or 'G'
      letters[#letters + 1] = l
      if pinned and l == 'O' and (o.outcome == 'C' or o.outcome == 'X') then
        gone = gone or {}
        gone[#gone + 1] = o.id
      end
    end
  end
  if #parks > 0 and member(me) then
    park_all(p, stream, epoch, parks, keys, places, letters)
  else
    -- Of who is no member nobody knows which call was the newest.
    for _, place in ipairs(places) do letters[place] = 'F' end
  end
  if own then
    for first = 1, gone and #gone or 0, 1000 do
      redis.call('XDEL', stream, unpack(gone, first, math.min(first + 999, #gone)))
    end
    if not untrimmed then try_to_trim(p, stream) end
  end
  out[i] = table.concat(letters)
end
return out
