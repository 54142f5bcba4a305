-- The leader writes a plan: who shall own each partition of the shard.
-- uses: protocol plan
-- KEYS[1] prefix of the shard
-- ARGV[1] term, ARGV[2] the shard's ring epoch that the plan was computed from (compare-and-set), '' where
-- it is not known and all partitions are given (only forward), ARGV[3] new ring epoch, ARGV[4] mode,
-- ARGV[5] request answered, ARGV[6] dispatcher, ARGV[7] members JSON, ARGV[8] shards of the queue
-- ARGV[9..] partition, incarnation or '-': those whose planned owner becomes another, or that are not with it
-- Returns {'PLANNED', moves} | {'STALE'} | {'CONFLICT', why}
if stale(ARGV[1]) then return {'STALE'} end
local before, epoch, mode = ARGV[2], ARGV[3], ARGV[4]
if before ~= '' and ring('epoch') ~= before or tonumber(ring('epoch')) >= tonumber(epoch) then
  return {'CONFLICT', 'ring epoch is ' .. ring('epoch')}
end
local FIRST = 9
local known = {}
for i = FIRST + 1, #ARGV, 2 do
  local to = ARGV[i]
  if to ~= '-' and not known[to] then
    if not up(to) then return {'CONFLICT', to .. ' is not up'} end
    known[to] = true
  end
end

-- What moves is what was told to move and has not yet, and what is planned anew. A call for
-- each partition would hold the server for milliseconds where there are many: hence pages.
local PAGE = 500
local wanted, parts, targets = {}, {}, {}
for i = FIRST, #ARGV, 2 do
  parts[#parts + 1] = ARGV[i]
  targets[#targets + 1] = ARGV[i + 1]
  wanted[ARGV[i]] = true
end
local planned = #parts
for _, p in ipairs(redis.call('SMEMBERS', K .. 'moves')) do
  if not wanted[p] then parts[#parts + 1] = p end
end
redis.call('DEL', K .. 'moves')
local losers, keepers, moves = {}, {}, 0
for first = 1, #parts, PAGE do
  local last = math.min(first + PAGE - 1, #parts)
  local owners = redis.call('HMGET', K .. 'owner', unpack(parts, first, last))
  local plans = redis.call('HMGET', K .. 'plan', unpack(parts, first, last))
  local new, moving = {}, {}
  for i = first, last do
    local p, to, was = parts[i], targets[i], plans[i - first + 1]
    if i <= planned then
      new[#new + 1] = p
      new[#new + 1] = to
    else
      to = was or '-'
    end
    local record = owners[i - first + 1]
    local inc = record and string.match(record, '^(%S+) %d+$')
    if inc == to then
      if was ~= to then keepers[inc] = true end
    elseif inc and to ~= '-' then
      moving[#moving + 1] = p
      losers[inc] = losers[inc] or {}
      table.insert(losers[inc], p)
    end
  end
  if #new > 0 then redis.call('HSET', K .. 'plan', unpack(new)) end
  if #moving > 0 then redis.call('SADD', K .. 'moves', unpack(moving)) end
  moves = moves + #moving
end

local barrier = mode == 'ring'
redis.call('HSET', K .. 'ring', 'epoch', epoch, 'mode', mode, 'members', ARGV[7], 'shards', ARGV[8],
  'phase', (moves > 0 or barrier) and '1' or '0')
if ARGV[5] ~= '' then redis.call('HSET', K .. 'ring', 'answered', ARGV[5] .. ' ' .. epoch) end
local head = '{"epoch":"' .. epoch .. '","term":"' .. ARGV[1] .. '","mode":"' .. mode .. '","dispatcher":"' .. ARGV[6] .. '"'
announce('sync', 'Master', '1', head .. '}')
-- Who keeps what it was to lose finds a number missing before the message, and reads the records.
for inc in pairs(keepers) do
  changed(inc)
  losers[inc] = losers[inc] or {}
end
if barrier then
  for _, inc in ipairs(redis.call('HKEYS', K .. 'members')) do losers[inc] = losers[inc] or {} end
end
for inc, lost in pairs(losers) do
  if inc ~= '-' and member(inc) then
    tell(inc, 'sync', '1', head .. ',"parts":[' .. table.concat(lost, ',') .. '],"change":"' .. changed(inc) .. '"}')
  end
end
if moves == 0 and not barrier then finish() end
return {'PLANNED', moves}
