-- What a plan does, step by step; put after part_protocol.lua.

-- Only the present leader writes: a lower term is an old one. Shards other than the
-- lease's own learn a new term here.
local function stale(term)
  local t = redis.call('HGET', K .. 'ring', 'term')
  if not t then return false end
  if tonumber(term) < tonumber(t) then return true end
  if tonumber(term) > tonumber(t) then redis.call('HSET', K .. 'ring', 'term', term) end
  return false
end

local function quoted(list)
  if #list == 0 then return '[]' end
  return '["' .. table.concat(list, '","') .. '"]'
end

-- A worker's reply to a phase of a plan: the phase is a field of replied:<ring epoch>, by which everybody goes. The
-- list of replies in the wire's shape, in acks:<ring epoch>, is for those who watch.
local function reply(inc, epoch, phase, data)
  local replied, key = K .. 'replied:' .. epoch, K .. 'acks:' .. epoch
  redis.pcall('HSET', replied, inc .. ' ' .. phase, '1')
  redis.pcall('PEXPIRE', replied, 3600000)
  local r = '{"type":"sync","name":"' .. inc .. '","phase":' .. phase .. ',"data":' .. data .. '}'
  local list = redis.pcall('HGET', key, inc)
  if type(list) == 'table' then return end -- somebody's key of another type
  if list then r = string.sub(list, 1, -2) .. ',' .. r .. ']' else r = '[' .. r .. ']' end
  redis.call('HSET', key, inc, r)
  redis.call('PEXPIRE', key, 3600000)
end

local function has_replied(inc, epoch, phase)
  return redis.pcall('HEXISTS', K .. 'replied:' .. epoch, inc .. ' ' .. phase) == 1
end

local function all_replied(epoch, phase)
  for _, inc in ipairs(redis.call('HKEYS', K .. 'members')) do
    if not has_replied(inc, epoch, phase) then return false end
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
