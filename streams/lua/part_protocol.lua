-- What the protocol scripts share; put before each of them.
local K = KEYS[1]

local function member(inc)
  return redis.call('HEXISTS', K .. 'members', inc) == 1
end

local function up(inc)
  local m = redis.call('HGET', K .. 'members', inc)
  return m and string.find(m, '"state":"up"', 1, true) ~= nil
end

-- Only the present leader writes: a lower term is an old one. Shards other than the
-- lease's own learn a new term here.
local function stale(term)
  local t = redis.call('HGET', K .. 'ring', 'term')
  if not t then return false end
  if tonumber(term) < tonumber(t) then return true end
  if tonumber(term) > tonumber(t) then redis.call('HSET', K .. 'ring', 'term', term) end
  return false
end

-- Names a worker's last heartbeat: '<number> <reach in ms>', and when its lease ends, which every
-- renewal moves on. A user without the right to ask for that has the number alone, and so has the in-memory
-- store, which knows how long a key has left and not when it ends.
local function last_beat(inc)
  local beat = redis.call('HGET', K .. 'beats', inc)
  local ends = redis.REDIS_VERSION and redis.pcall('PEXPIRETIME', K .. 'alive:' .. inc)
  if type(ends) ~= 'number' or ends < 0 then return beat or '' end
  return (beat or '- 0') .. ' ' .. string.format('%.0f', ends)
end

local function owner_of(p)
  local rec = redis.call('HGET', K .. 'owner', p)
  if not rec then return nil end
  return string.match(rec, '^(%S+) (%d+)$')
end

-- Both halves of an id have 64 bits, and a number of Lua keeps 53 of them: they are compared as texts.
local function below(a, b)
  local am, as = string.match(a, '^(%d+)-(%d+)$')
  local bm, bs = string.match(b, '^(%d+)-(%d+)$')
  if not am or not bm then return false end
  if am == bm then am, bm = as, bs end
  return #am < #bm or (#am == #bm and am < bm)
end

-- A stream whose group was deleted, or that is no stream any more, has nothing pending.
-- It must not stop a script's work on other partitions: hence pcall.
local function pending_entry(stream, group, id)
  local held = redis.pcall('XPENDING', stream, group, id, id, 1)
  return not held.err and held[1] or nil
end

-- The last-delivered id of a group, or nil if there is no such group; and the names of all others.
local function delivered(stream, group)
  local last, others = nil, {}
  local groups = redis.pcall('XINFO', 'GROUPS', stream)
  for _, g in ipairs(groups.err and {} or groups) do
    local name, id
    for i = 1, #g, 2 do
      if g[i] == 'name' then name = g[i + 1] elseif g[i] == 'last-delivered-id' then id = g[i + 1] end
    end
    -- The in-memory store writes 0-0 as 0.
    if name == group then last = string.find(id, '-', 1, true) and id or id .. '-0' else others[#others + 1] = name end
  end
  return last, others
end

-- What somebody deleted from a stream before it had ended is not told as done. deleted is a hash: partition ->
-- 'first last first last ...', at most 32 pairs: an id above a first and not above its last, of which nothing is
-- left, was deleted. Returns whether it was news.
local function note_deleted(p, first, last)
  local list = redis.pcall('HGET', K .. 'deleted', p) or ''
  if type(list) ~= 'string' or string.find(' ' .. list .. ' ', ' ' .. first .. ' ' .. last .. ' ', 1, true) then return false end
  local _, words = string.gsub(list, '%S+', '')
  if words >= 64 then list = string.gsub(list, '^%S+ %S+ ', '') end
  redis.pcall('HSET', K .. 'deleted', p, (list == '' and '' or list .. ' ') .. first .. ' ' .. last)
  return true
end

-- The id before one; nil where nobody can tell.
local function id_before(id)
  local ms, seq = string.match(id, '^(%d+)-(%d+)$')
  if not ms or #ms > 15 or #seq > 15 or (ms == '0' and seq == '0') then return nil end
  if seq ~= '0' then return ms .. '-' .. string.format('%.0f', tonumber(seq) - 1) end
  return string.format('%.0f', tonumber(ms) - 1) .. '-18446744073709551615'
end

-- Raises the worker's change number: its heartbeat shows it, so that a lost hint is found. A number that
-- somebody spoiled begins again at the clock in seconds, above every counted one.
local function changed(inc)
  if inc == '-' or not member(inc) then return '0' end
  local n = redis.pcall('HINCRBY', K .. 'change', inc, 1)
  if type(n) == 'number' then return string.format('%.0f', n) end
  n = redis.call('TIME')[1]
  redis.pcall('HSET', K .. 'change', inc, n)
  return n
end

local function ring(field)
  return redis.call('HGET', K .. 'ring', field) or '0'
end

local function fields(kind, name, phase, data)
  return 'type', kind, 'name', name, 'phase', phase, 'epoch', ring('epoch'), 'term', ring('term'), 'data', data
end

-- Messages are hints, and come after what they tell of: one that cannot be written undoes nothing.
local function tell(inc, kind, phase, data)
  redis.pcall('XADD', K .. 'control:' .. inc, 'NOMKSTREAM', 'MAXLEN', '~', '1000', '*',
    fields(kind, 'Master', phase, data))
end

local function announce(kind, name, phase, data)
  redis.pcall('XADD', K .. 'control', 'MAXLEN', '~', '10000', '*', fields(kind, name, phase, data))
end

local function quoted(list)
  if #list == 0 then return '[]' end
  return '["' .. table.concat(list, '","') .. '"]'
end

-- Adds one reply, in the wire's shape, to the worker's list in acks:<ring epoch>.
local function reply(inc, epoch, phase, data)
  local key = K .. 'acks:' .. epoch
  local r = '{"type":"sync","name":"' .. inc .. '","phase":' .. phase .. ',"data":' .. data .. '}'
  local list = redis.pcall('HGET', key, inc)
  if type(list) == 'table' then return end -- somebody's key of another type: who waits for the reply goes by the records
  if list then r = string.sub(list, 1, -2) .. ',' .. r .. ']' else r = '[' .. r .. ']' end
  redis.call('HSET', key, inc, r)
  redis.call('PEXPIRE', key, 3600000)
end

-- The server's clock in ms.
local function clock()
  local t = redis.call('TIME')
  return tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)
end

-- Notes that a worker's process has died: it was up and stopped answering. Who leaves, is told to
-- leave or hands nothing over while it answers does not die. Deaths are kept for a day, 1,000 of them.
local function died(inc)
  local key, now = K .. 'deaths', clock()
  local all = redis.pcall('HGETALL', key)
  if all.err then return end
  local oldest, since = nil, now
  for i = 1, #all, 2 do
    local at = tonumber(all[i + 1]) or 0
    if at < now - 86400000 then redis.call('HDEL', key, all[i]) end
    if at < since then oldest, since = all[i], at end
  end
  if oldest and #all >= 2000 then redis.call('HDEL', key, oldest) end
  redis.call('HSET', key, inc, string.format('%.0f', now))
end

-- The parts of a retry record: attempts, not before, crashes, "/" and the deaths it ran in, mark, error.
local function retry_record(p, id)
  local rec = redis.pcall('HGET', K .. 'retry:' .. p, id)
  local a, nb, c, ran, mark, err
  if type(rec) == 'string' then a, nb, c, ran, mark, err = string.match(rec, '^(%d+)|(%d+)|(%d+)([^|]*)|([^|]*)|(.*)$') end
  if not a then return '0', '0', '0', '', '', '' end
  return a, nb, c, ran, mark, err
end

local function set_retry_record(p, id, ...)
  redis.pcall('HSET', K .. 'retry:' .. p, id, table.concat({...}, '|'))
end

-- A crash of the worker that held the job under an epoch: a new suspect, or one more count for a
-- suspect that was marked in that tenure, with what is known of the death. Nothing, unless that
-- worker has died. It comes after a change of owner, and never undoes one.
local function count_crash(p, id, inc, epoch)
  local at = redis.pcall('HGET', K .. 'deaths', inc)
  if type(at) ~= 'string' then return end
  local a, nb, c, ran, mark, err = retry_record(p, id)
  local kind, marked, till = string.match(mark, '^([as]%d*)%.(%d+)%.?(%d*)$')
  if kind and marked == epoch then
    if till == '' or tonumber(at) > tonumber(till) then kind = 's' end
    local _, kept = string.gsub(ran, '@', '@')
    if kept >= 64 then ran = '/' .. string.match(ran, ',(.*)$') end
    ran = (ran == '' and '/' or ran .. ',') .. kind .. '@' .. at
    c, mark = string.format('%.0f', tonumber(c) + 1), ''
  elseif c == '0' then
    c, ran = '1', '/h@' .. at
  else
    return
  end
  set_retry_record(p, id, a, nb, c .. ran, mark, err)
end

local MARK_IDLE = '100000000000'

local function all_replied(epoch, phase)
  local key = K .. 'acks:' .. epoch
  for _, inc in ipairs(redis.call('HKEYS', K .. 'members')) do
    local list = redis.call('HGET', key, inc)
    if not list or not string.find(list, '"phase":' .. phase .. ',', 1, true) then return false end
  end
  return true
end

local function finish()
  redis.call('HSET', K .. 'ring', 'phase', '0')
  announce('sync', 'Master', '3', '{"epoch":"' .. ring('epoch') .. '"}')
end

-- What follows when a move of the plan is settled. In mode ring the members' replies decide.
local function settle(p)
  if redis.pcall('SREM', K .. 'moves', p) == 1 and redis.call('SCARD', K .. 'moves') == 0
    and ring('mode') ~= 'ring' then
    finish()
  end
end

-- Mode ring: the barrier goes on when every member has replied. Phase 1 of a queue of several shards ends
-- by the leader's word, for it alone sees whether everything stands still in the others too.
local function advance(led)
  local epoch, phase = ring('epoch'), ring('phase')
  if ring('mode') ~= 'ring' or phase == '0' then return phase end
  if phase == '1' and not led and tonumber(ring('shards')) > 1 then return phase end
  if phase == '1' and redis.call('SCARD', K .. 'moves') == 0 and all_replied(epoch, '1') then
    local cuts = {}
    local owners = redis.call('HGETALL', K .. 'owner')
    for i = 1, #owners, 2 do
      local inc = string.match(owners[i + 1], '^(%S+) ')
      local last = inc and delivered(K .. 'jobs:' .. owners[i], inc)
      if last then cuts[#cuts + 1] = '"' .. owners[i] .. '":"' .. last .. '"' end
    end
    local members = redis.call('HKEYS', K .. 'members')
    local data = '{"epoch":"' .. epoch .. '","sync_to":{' .. table.concat(cuts, ',') .. '},"members":' .. quoted(members) .. '}'
    redis.call('HSET', K .. 'ring', 'phase', '2')
    announce('sync', 'Master', '2', data)
    for _, inc in ipairs(members) do tell(inc, 'sync', '2', data) end
  elseif phase == '2' and all_replied(epoch, '2') then
    finish()
    for _, inc in ipairs(redis.call('HKEYS', K .. 'members')) do
      tell(inc, 'sync', '3', '{"epoch":"' .. epoch .. '"}')
    end
  end
  return ring('phase')
end
