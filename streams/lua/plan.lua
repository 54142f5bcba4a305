-- The leader writes a plan: who shall own each partition of the shard.
-- uses: protocol
-- KEYS[1] prefix of the shard
-- ARGV[1] term, ARGV[2] ring epoch it was computed from, ARGV[3] new ring epoch, ARGV[4] '1' in the
-- lease's own shard (compare-and-set), '' in others (only forward), ARGV[5] mode, ARGV[6] request answered,
-- ARGV[7] dispatcher, ARGV[8] members JSON, ARGV[9..] partition, incarnation or '-'
-- Returns {'PLANNED', moves} | {'STALE'} | {'CONFLICT', why}
if stale(ARGV[1]) then return {'STALE'} end
local epoch = ARGV[3]
if ARGV[4] == '1' then
  if ring('epoch') ~= ARGV[2] then return {'CONFLICT', 'ring epoch is ' .. ring('epoch')} end
elseif tonumber(ring('epoch')) >= tonumber(epoch) then
  return {'CONFLICT', 'ring epoch is ' .. ring('epoch')}
end
local checked = {}
for i = 10, #ARGV, 2 do
  local to = ARGV[i]
  if to ~= '-' and not checked[to] then
    if not up(to) then return {'CONFLICT', to .. ' is not up'} end
    checked[to] = true
  end
end
redis.call('DEL', K .. 'moves')
-- A call for each partition would hold the server for milliseconds: 4,096 are written 500
-- at a time, and the owners are read at once.
for i = 9, #ARGV, 1000 do
  redis.call('HSET', K .. 'plan', unpack(ARGV, i, math.min(i + 999, #ARGV)))
end
local owners, records = {}, redis.call('HGETALL', K .. 'owner')
for i = 1, #records, 2 do owners[records[i]] = records[i + 1] end
local losers, moves = {}, 0
for i = 9, #ARGV, 2 do
  local p, to = ARGV[i], ARGV[i + 1]
  local inc = owners[p]
  if inc and string.find(inc, to, 1, true) == 1 and string.byte(inc, #to + 1) == 32 then
    inc = to
  elseif inc then
    inc = string.match(inc, '^(%S+) %d+$')
  end
  if inc and inc ~= to and to ~= '-' then
    redis.call('SADD', K .. 'moves', p)
    moves = moves + 1
    if inc ~= '-' and member(inc) then
      losers[inc] = losers[inc] or {}
      table.insert(losers[inc], p)
    end
  end
end
local barrier = ARGV[5] == 'ring'
redis.call('HSET', K .. 'ring', 'epoch', epoch, 'mode', ARGV[5], 'members', ARGV[8],
  'phase', (moves > 0 or barrier) and '1' or '0')
if ARGV[6] ~= '' then redis.call('HSET', K .. 'ring', 'answered', ARGV[6] .. ' ' .. epoch) end
local head = '{"epoch":"' .. epoch .. '","term":"' .. ARGV[1] .. '","mode":"' .. ARGV[5] .. '","dispatcher":"' .. ARGV[7] .. '"'
announce('sync', 'Master', '1', head .. '}')
if barrier then
  for _, inc in ipairs(redis.call('HKEYS', K .. 'members')) do losers[inc] = losers[inc] or {} end
end
for inc, parts in pairs(losers) do
  tell(inc, 'sync', '1', head .. ',"parts":[' .. table.concat(parts, ',') .. '],"change":"' .. changed(inc) .. '"}')
end
if moves == 0 and not barrier then finish() end
return {'PLANNED', moves}
