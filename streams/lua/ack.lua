-- Ends runs: the only way a job completes, fails, dies or is parked.
-- uses: protocol
-- KEYS[1] prefix of the shard
-- ARGV[1] incarnation, ARGV[2] lifetime of results in ms, ARGV[3] '1' if the queue keeps a journal,
-- ARGV[4] number of the call, rising, or '' if it does no harm to be executed late
-- ARGV[5] number of partitions, then these; then for each of them: epoch, '1' to delete what is acked, number
-- of plain ids, these ids, number of other ends, and for each of those: outcome, id, attempt, key, type, data, '1' if
-- it has a retry record
-- Returns a string for each partition, one letter for each id in order:
-- O done by the owner, D done by a drainer, F pending for another; pending for nobody: U if the
-- caller owns the partition, G if not. On U, G and F nothing is written. A plain end by the
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

-- The list of a key stays in id order, also when a job comes back to it that had been
-- taken out before later ones; the index holds the time of the first, about which trim spares.
local function park(p, id, key)
  local index = K .. 'parked:' .. p
  local list = index .. ':' .. key
  local tail = redis.call('LINDEX', list, -1)
  if not tail or below(tail, id) then
    redis.call('RPUSH', list, id)
  else
    local from, pivot = 0, nil
    repeat
      local page = redis.call('LRANGE', list, from, from + 99)
      for _, other in ipairs(page) do
        if not pivot and below(id, other) then pivot = other end
      end
      from = from + 100
    until pivot or #page == 0
    if pivot then
      redis.call('LINSERT', list, 'BEFORE', pivot, id)
    elseif not redis.call('LPOS', list, id) then
      redis.call('RPUSH', list, id)
    end
  end
  redis.call('ZADD', index, string.match(redis.call('LINDEX', list, 0), '^%d+') or '0', key)
  some_parked = true
end

local function effects(p, id, o, epoch)
  local full = p .. '-' .. id
  if o.outcome == 'C' then
    if o.data ~= '' then redis.call('SET', K .. 'result:' .. full, o.data, 'PX', ttl) end
  elseif o.outcome == 'X' then
    redis.call('HSET', K .. 'dead:' .. p, full, o.data)
  elseif o.outcome == 'P' then
    park(p, id, o.key)
    return
  end
  if o.retry == '1' then redis.call('HDEL', K .. 'retry:' .. p, id) end
  if journal then
    redis.call('XADD', K .. 'journal:' .. p, '*', 'id', full, 'key', o.key, 'type', o.type, 'outcome', o.outcome,
      'attempt', o.attempt, 'worker', me, 'epoch', epoch)
  end
end

local function inform(p, owner, oe, kind, id)
  if owner == '-' then return end
  tell(owner, kind, '0', '{"part":' .. p .. ',"id":"' .. id .. '","part_epoch":"' .. oe .. '","change":"' .. changed(owner) .. '"}')
end

-- One end by whoever holds the entry; holder is the consumer name of the run.
local function finish_one(p, stream, owner, oe, holder, drainer, epoch, o)
  local held = pending_entry(stream, owner, o.id)
  if not held then return drainer and 'G' or 'U' end
  if held[2] ~= holder then return 'F' end
  if o.outcome == 'F' or o.outcome == 'B' then
    if o.outcome == 'F' then redis.call('HSET', K .. 'retry:' .. p, o.id, o.data) end
    if drainer then
      redis.call('XCLAIM', stream, owner, '!', '0', o.id, 'IDLE', MARK_IDLE, 'JUSTID')
      inform(p, owner, oe, 'undrained', o.id)
    end
    return drainer and 'D' or 'O'
  end
  if drainer and o.outcome == 'P' then return 'F' end
  -- It is pending, so the ack will count. A record that cannot be written leaves the job as it is.
  effects(p, o.id, o, epoch)
  redis.call('XACK', stream, owner, o.id)
  if drainer then inform(p, owner, oe, 'drained', o.id) end
  return drainer and 'D' or 'O'
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
  local now, told = redis.call('TIME')[1], redis.pcall('HGET', K .. 'ring', 'untrimmed')
  if type(told) == 'string' and tonumber(now) < (tonumber(told) or 0) + 60 then return end
  redis.pcall('HSET', K .. 'ring', 'untrimmed', now)
  announce('alarm', me, '0', '{"part":' .. p .. ',"alarm":"stream is not trimmed: '
    .. string.gsub(failed.err, '[%c"\\]', ' ') .. '"}')
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
  local p, epoch, pinned, n = ARGV[5 + i], next_arg(), next_arg() == '1', tonumber(next_arg())
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
  for _ = 1, tonumber(next_arg()) do
    local o = {outcome = next_arg(), id = next_arg(), attempt = next_arg(), key = next_arg(), type = next_arg(),
      data = next_arg(), retry = next_arg()}
    if not owner then
      letters[#letters + 1] = 'G'
    else
      local l = finish_one(p, stream, owner, oe, own and me or me .. '@' .. epoch, not own, epoch, o)
      letters[#letters + 1] = l
      if pinned and l == 'O' and (o.outcome == 'C' or o.outcome == 'X') then
        gone = gone or {}
        gone[#gone + 1] = o.id
      end
    end
  end
  if own then
    for first = 1, gone and #gone or 0, 1000 do
      redis.call('XDEL', stream, unpack(gone, first, math.min(first + 999, #gone)))
    end
    try_to_trim(p, stream)
  end
  out[i] = table.concat(letters)
end
return out
