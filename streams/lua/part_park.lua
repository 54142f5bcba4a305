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
end

-- below, for ids that are of one length as a rule: those are compared as they are.
local function before(a, b)
  local dash = string.find(a, '-', 1, true)
  if dash and #a == #b and string.byte(b, dash) == 45 then return a < b end
  return below(a, b)
end

-- Adds to the list of a key, its ids in order as a rule: then they go to its end together.
local function park_key(p, key, ids)
  local index = K .. 'parked:' .. p
  local list = index .. ':' .. key
  local last = redis.call('LINDEX', list, -1)
  for _, id in ipairs(ids) do
    if last and not before(last, id) then
      for _, each in ipairs(ids) do park(p, each, key) end
      return
    end
    last = id
  end
  redis.call('RPUSH', list, unpack(ids))
  redis.call('ZADD', index, string.match(redis.call('LINDEX', list, 0), '^%d+') or '0', key)
end

