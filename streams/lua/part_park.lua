-- below, for ids that are of one length as a rule: those are compared as they are.
local function before(a, b)
  local dash = string.find(a, '-', 1, true)
  if dash and #a == #b and string.byte(b, dash) == 45 then return a < b end
  return below(a, b)
end

-- Takes what is behind an id out of a list, and returns it.
local function cut_behind(list, id)
  local behind, from = {}, nil
  repeat
    local page = redis.call('LRANGE', list, -#behind - 100, -#behind - 1)
    from = #page
    for i = #page, 1, -1 do
      if before(page[i], id) then break end
      behind[#behind + 1], from = page[i], i - 1
    end
  until from > 0 or #page == 0
  if #behind > 0 then redis.call('LTRIM', list, 0, -#behind - 1) end
  return behind
end

-- Adds to the list of a key, which stays in id order: as a rule they go to its end together, but jobs may come back
-- to it that had been taken out before later ones. The index holds the time of the first, about which trim spares.
local function park_key(p, key, ids)
  local index = K .. 'parked:' .. p
  local list = index .. ':' .. key
  local last, sorted = redis.call('LINDEX', list, -1), true
  for _, id in ipairs(ids) do
    sorted = sorted and (not last or before(last, id))
    last = id
  end
  if not sorted then
    table.sort(ids, before)
    for _, id in ipairs(cut_behind(list, ids[1])) do ids[#ids + 1] = id end
    table.sort(ids, before)
    local kept = {}
    for i, id in ipairs(ids) do
      if id ~= ids[i - 1] then kept[#kept + 1] = id end
    end
    ids = kept
  end
  for first = 1, #ids, 1000 do
    redis.call('RPUSH', list, unpack(ids, first, math.min(first + 999, #ids)))
  end
  redis.call('ZADD', index, string.match(redis.call('LINDEX', list, 0), '^%d+') or '0', key)
end
