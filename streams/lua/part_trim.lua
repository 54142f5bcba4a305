-- The low-water mark: nothing below it is pending or parked, and everything below it was
-- handed out. The group says what was: what the caller has read is not asked, since a server
-- that went back in time has handed out less.
local function trim(me, p, stream)
  local pend = redis.pcall('XPENDING', stream, me)
  if pend.err then return end
  local mark = pend[2]
  if pend[1] == 0 then
    local last = delivered(stream, me)
    if not last then return end
    local ms, seq = string.match(last, '^(%d+)-(%d+)$')
    mark = #seq < 16 and ms .. '-' .. string.format('%.0f', tonumber(seq) + 1) or last
  end
  local parked = redis.call('ZRANGE', K .. 'parked:' .. p, 0, 0, 'WITHSCORES')
  if parked[2] then
    local first = string.format('%.0f', tonumber(parked[2])) .. '-0'
    if below(first, mark) then mark = first end
  end
  redis.call('XTRIM', stream, 'MINID', '=', mark)
end

