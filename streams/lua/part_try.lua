-- For scripts that only read: what somebody wrote by hand with another type counts as absent. What
-- the user has no right to read does not: that is an error (the first text is of 7.0, the others later).
local function try(name, ...)
  local r = redis.pcall(name, ...)
  if type(r) ~= 'table' or not r.err then return r end
  if string.find(r.err, 'user executing the script', 1, true) or string.find(r.err, 'ACL failure', 1, true)
    or string.find(r.err, 'NOPERM', 1, true) then
    if name == 'XINFO' then name = name .. '|' .. ... end
    error({err = 'NOPERM this user has no permissions to run the \'' .. string.lower(name) .. '\' command'})
  end
  return false
end

-- The owner's group in a partition's stream: its name, last-delivered id, the stream's last id, whether the
-- stream is there, entries ever added or -1 where the server does not count them, the newest entry's id. A new
-- generation raises the stream's last id above that of its last entry. Without a readable owner record, the group
-- that is there.
local function group_of(stream, inc)
  local name, last, top, added = inc, '0-0', '0-0', -1
  if redis.call('EXISTS', stream) == 0 then return name, last, top, false, 0, '0-0' end
  for n, g in ipairs(try('XINFO', 'GROUPS', stream) or {}) do
    local found, delivered
    for i = 1, #g, 2 do
      if g[i] == 'name' then found = g[i + 1] elseif g[i] == 'last-delivered-id' then delivered = g[i + 1] end
    end
    -- A group that was made at 0 is shown so by the in-memory store.
    if delivered and not string.find(delivered, '-', 1, true) then delivered = delivered .. '-0' end
    if found == inc or (not inc and n == 1) then name, last = found, delivered end
  end
  local newest
  local info = try('XINFO', 'STREAM', stream) or {}
  for i = 1, #info, 2 do
    if info[i] == 'last-generated-id' and info[i + 1] ~= '' then top = info[i + 1] end -- the in-memory store tells none
    if info[i] == 'entries-added' then added = info[i + 1] end
    if info[i] == 'last-entry' then newest = info[i + 1] and info[i + 1][1] or '0-0' end
  end
  if not newest then -- the in-memory store does not tell
    local e = (try('XREVRANGE', stream, '+', '-', 'COUNT', 1) or {})[1]
    newest = e and e[1] or '0-0'
  end
  return name, last, top, true, added, newest
end

-- How an incarnation stands: 'alive', 'silent' (a member whose lease is over), or '' for no member.
local function standing(inc)
  if not inc or inc == '-' or not member(inc) then return '' end
  return redis.call('EXISTS', K .. 'alive:' .. inc) == 1 and 'alive' or 'silent'
end

-- Whom an entry is pending for, or ''; '!' where the holder does not live: the next owner takes it over.
local function held_by(stream, group, id)
  local held = group and try('XPENDING', stream, group, id, id, 1)
  if not held or not held[1] then return '' end
  local consumer = held[1][2]
  if standing(string.match(consumer, '^(.-)@%d+$') or consumer) ~= 'alive' then return '!' end
  return consumer
end
