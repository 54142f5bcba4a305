-- For scripts that only read: what somebody wrote by hand with another type counts as absent.
local function try(...)
  local r = redis.pcall(...)
  if type(r) == 'table' and r.err then return false end
  return r
end

-- The owner's group in a partition's stream: its name, last-delivered id, the stream's last id, whether the
-- stream is there, entries ever added or -1 where the server does not count them. Without a readable owner
-- record, the group that is there.
local function group_of(stream, inc)
  local name, last, top, added = inc, '0-0', '0-0', -1
  if redis.call('EXISTS', stream) == 0 then return name, last, top, false, 0 end
  for n, g in ipairs(try('XINFO', 'GROUPS', stream) or {}) do
    local found, delivered
    for i = 1, #g, 2 do
      if g[i] == 'name' then found = g[i + 1] elseif g[i] == 'last-delivered-id' then delivered = g[i + 1] end
    end
    -- A group that was made at 0 is shown so by the in-memory store.
    if delivered and not string.find(delivered, '-', 1, true) then delivered = delivered .. '-0' end
    if found == inc or (not inc and n == 1) then name, last = found, delivered end
  end
  local info = try('XINFO', 'STREAM', stream) or {}
  for i = 1, #info, 2 do
    if info[i] == 'last-generated-id' then top = info[i + 1] end
    if info[i] == 'entries-added' then added = info[i + 1] end
  end
  return name, last, top, true, added
end

-- Whom an entry is pending for, or ''.
local function held_by(stream, group, id)
  local held = group and try('XPENDING', stream, group, id, id, 1)
  if held and held[1] then return held[1][2] end
  return ''
end
