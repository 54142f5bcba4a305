-- What the protocol scripts share; put before each of them.
local K = KEYS[1]

-- The server's clock in ms.
local function clock()
  local t = redis.call('TIME')
  return tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)
end

-- The same in seconds, as a text.
local function seconds()
  return string.format('%.0f', math.floor(clock() / 1000))
end

-- The value of a name in a list of name, value, name, value...; nil if it is not there.
local function field_of(list, name)
  local value
  for i = 1, #list, 2 do
    if list[i] == name then value = list[i + 1] end
  end
  return value
end

local function member(inc)
  return redis.call('HEXISTS', K .. 'members', inc) == 1
end

local function up(inc)
  local m = redis.call('HGET', K .. 'members', inc)
  return m and string.find(m, '"state":"up"', 1, true) ~= nil
end

local function owner_of(p)
  local rec = redis.call('HGET', K .. 'owner', p)
  if not rec then return nil end
  return string.match(rec, '^(%S+) (%d+)$')
end

-- Whether an incarnation owns a partition at an epoch.
local function owns(inc, p, epoch)
  local owner, e = owner_of(p)
  return owner == inc and e == epoch
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

-- The groups of a stream as XINFO GROUPS tells them: {name, last-delivered id} of each.
local function groups_in(told)
  local out = {}
  for i, g in ipairs(told) do
    local last = field_of(g, 'last-delivered-id')
    -- The in-memory store writes 0-0 as 0.
    out[i] = {field_of(g, 'name'), string.find(last, '-', 1, true) and last or last .. '-0'}
  end
  return out
end

-- The last-delivered id of a group, or nil if there is no such group; and the names of all others.
local function delivered(stream, group)
  local last, others = nil, {}
  local told = redis.pcall('XINFO', 'GROUPS', stream)
  for _, g in ipairs(groups_in(told.err and {} or told)) do
    if g[1] == group then last = g[2] else others[#others + 1] = g[1] end
  end
  return last, others
end

local MARK_IDLE = '100000000000'

-- Marks what is pending: nobody holds it, and the next claim of the group takes it.
local function mark_pending(stream, group, ids)
  for first = 1, #ids, 1000 do
    local args = {'XCLAIM', stream, group, '!', '0', unpack(ids, first, math.min(first + 999, #ids))}
    for _, word in ipairs({'IDLE', MARK_IDLE, 'JUSTID'}) do args[#args + 1] = word end
    redis.call(unpack(args))
  end
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
  n = seconds()
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

local function alarm(name, p, text, more)
  announce('alarm', name, '0', '{"part":' .. p .. ',"alarm":"' .. text .. '"' .. (more or '') .. '}')
end

-- Tells an owner what became of a job that a former one held.
local function tell_of_job(kind, owner, p, epoch, id)
  if owner == '-' then return end
  tell(owner, kind, '0', '{"part":' .. p .. ',"id":"' .. id .. '","part_epoch":"' .. epoch .. '","change":"' .. changed(owner) .. '"}')
end

-- How the ring stands for a member.
local function stand_of(inc)
  return {'OK', ring('epoch'), ring('phase'), ring('mode'), redis.call('HGET', K .. 'change', inc) or '0'}
end

-- Takes a member out, with all that is kept of it. Its inbox goes too, which wakes its blocked read.
local function remove_member(inc)
  for _, of in ipairs({'members', 'change', 'calls', 'beats'}) do redis.call('HDEL', K .. of, inc) end
  redis.call('DEL', K .. 'alive:' .. inc, K .. 'control:' .. inc)
end
