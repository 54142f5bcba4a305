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

-- Adds values, of which none is nil, to the end of a list.
local function append(list, ...)
  for _, v in ipairs({...}) do list[#list + 1] = v end
end

-- A partition's owner record, '' if there is none, and the incarnation in it.
local function owner_record(p)
  local record = try('HGET', K .. 'owner', p) or ''
  return record, string.match(record, '^(%S+) %d+$')
end

-- The owner's group in a partition's stream: its name, last-delivered id, the stream's last id, whether the
-- stream is there, entries ever added or -1 where the server does not count them, the newest entry's id. A new
-- generation raises the stream's last id above that of its last entry. Without a readable owner record, the group
-- that is there.
local function group_of(stream, inc)
  local name, last, top, added = inc, '0-0', '0-0', -1
  if redis.call('EXISTS', stream) == 0 then return name, last, top, false, 0, '0-0' end
  for n, g in ipairs(groups_in(try('XINFO', 'GROUPS', stream) or {})) do
    if g[1] == inc or (not inc and n == 1) then name, last = g[1], g[2] end
  end
  local info = try('XINFO', 'STREAM', stream) or {}
  local given = field_of(info, 'last-generated-id')
  if given and given ~= '' then top = given end -- the in-memory store may tell none
  added = field_of(info, 'entries-added') or added
  local entry = field_of(info, 'last-entry') -- of an empty stream it is false
  local newest = entry and entry[1] or entry == false and '0-0' or nil
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
