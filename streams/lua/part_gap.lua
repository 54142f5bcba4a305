-- What was lost is not told as done. A gap of a partition is a pair of ids: those above the first and not above
-- the second were given out, if at all, by a server whose last writes the present one does not have. gaps is
-- a hash: partition -> 'first second first second ...', rising.
local GAPS = 32 -- of a partition; beyond it the two oldest become one, with what lies between them

-- Notes a gap behind the last id that there is now; ms is the newest time that a lost id can have.
local function note_gap(p, stream, ms)
  local last = field_of(redis.pcall('XINFO', 'STREAM', stream), 'last-generated-id') or '0-0'
  if not string.find(last, '-', 1, true) then last = '0-0' end -- the in-memory store writes 0-0 as 0
  local at = tonumber((string.match(last, '^(%d+)-')))
  if at > 2^53 then return end -- somebody wrote an id by hand that no clock reaches
  local top = string.format('%.0f', math.max(ms, at)) .. '-18446744073709551615'
  local list = {}
  for a, b in string.gmatch(redis.call('HGET', K .. 'gaps', p) or '', '(%S+) (%S+)') do list[#list + 1] = {a, b} end
  -- Nothing was added since the one before, or that is gone with the rest: the two are one.
  while #list > 0 and not below(list[#list][2], last) do
    local before = table.remove(list)
    if below(before[1], last) then last = before[1] end
  end
  list[#list + 1] = {last, top}
  if #list > GAPS then
    list[2][1] = list[1][1]
    table.remove(list, 1)
  end
  for i, g in ipairs(list) do list[i] = g[1] .. ' ' .. g[2] end
  redis.call('HSET', K .. 'gaps', p, table.concat(list, ' '))
  return top
end

-- The same, and ids go on behind it: the clock may go back.
local function ids_from(p, stream, ms)
  local top = note_gap(p, stream, ms)
  if top then redis.pcall('XSETID', stream, top) end -- a user without the right: then the clock alone tells them apart
end
