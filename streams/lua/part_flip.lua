-- The only place where an owner changes; put before the scripts that may do it.
-- The new owner's group is made at the old one's last-delivered id and takes over its
-- pending list: what the old owner still runs (keep) stays under its permit, other
-- permits of members stay, everything else is marked for reclaim. What a dead worker held, as
-- owner or under a permit, counts a crash.
-- Returns new epoch, cut and the old owner's change number, or nil and a reason (then nothing was changed).
local function holders(stream, from, epoch, keep)
  local by, permits, crashed, total, start = {}, {}, {}, 0, '-'
  while true do
    local page = redis.call('XPENDING', stream, from, start, '+', 1000)
    -- A page begins with the last of the one before: the in-memory store knows no open ranges.
    for i = start == '-' and 1 or 2, #page do
      local id, consumer, holder = page[i][1], page[i][2], '!'
      if consumer == from then
        if keep[id] then
          holder = from .. '@' .. epoch
        else
          crashed[#crashed + 1] = {id, from, epoch}
        end
      else
        local inc, since = string.match(consumer, '^(.*)@(%d+)$')
        if inc and member(inc) then
          holder = consumer
        elseif inc then
          crashed[#crashed + 1] = {id, inc, since}
        end
      end
      if holder ~= '!' then permits[#permits + 1] = id end
      by[holder] = by[holder] or {}
      table.insert(by[holder], id)
      total = total + 1
    end
    if #page < 1000 then return by, permits, crashed, total end
    start = page[#page][1]
  end
end

local function claim_for(stream, group, holder, ids)
  for first = 1, #ids, 1000 do
    local args = {'XCLAIM', stream, group, holder, '0'}
    for i = first, math.min(first + 999, #ids) do args[#args + 1] = ids[i] end
    args[#args + 1] = 'IDLE'
    args[#args + 1] = holder == '!' and MARK_IDLE or '0'
    args[#args + 1] = 'FORCE'
    args[#args + 1] = 'JUSTID'
    redis.call(unpack(args))
  end
end

-- Entries whose message somebody deleted cannot be moved: how many there are, and which
-- of the permits are left.
local function missing(p, stream, by, permits)
  local n, gone, left = 0, {}, {}
  for _, ids in pairs(by) do
    for _, id in ipairs(ids) do
      if #redis.call('XRANGE', stream, id, id) == 0 then
        local first = id_before(id)
        if first then note_deleted(p, first, id) end
        n, gone[id] = n + 1, true
      end
    end
  end
  for _, id in ipairs(permits) do
    if not gone[id] then left[#left + 1] = id end
  end
  return n, left
end

local function flip(p, from, epoch, to, keep)
  if from == to then return nil, 'SAME' end
  local stream = K .. 'jobs:' .. p
  local cut, foreign = delivered(stream, from)
  if not cut then
    -- No stream: perhaps a cluster has it elsewhere. Who makes it again has looked there: see repair.
    if redis.call('EXISTS', stream) == 0 then return nil, 'MISMATCH' end
    -- The owner's group is gone: somebody deleted it. Begin at 0: again rather than never.
    redis.call('XGROUP', 'CREATE', stream, from, '0')
    cut = '0-0'
    alarm(from, p, 'group of the owner was gone: reading from 0')
  end
  for _, name in ipairs(foreign) do redis.call('XGROUP', 'DESTROY', stream, name) end
  local by, permits, crashed, total = holders(stream, from, epoch, keep)
  redis.call('XGROUP', 'CREATE', stream, to, cut)
  for holder, ids in pairs(by) do claim_for(stream, to, holder, ids) end
  local moved = redis.call('XPENDING', stream, to)[1]
  local lost = 0
  if moved ~= total then
    lost, permits = missing(p, stream, by, permits)
    if moved + lost ~= total then
      redis.call('XGROUP', 'DESTROY', stream, to)
      return nil, 'MISMATCH'
    end
    alarm(from, p, 'pending jobs were deleted from the stream', ',"lost":' .. lost)
  end
  redis.call('XGROUP', 'DESTROY', stream, from)
  local e = string.format('%.0f', tonumber(epoch) + 1)
  redis.call('HSET', K .. 'owner', p, to .. ' ' .. e)
  for _, c in ipairs(crashed) do count_crash(p, c[1], c[2], c[3]) end
  local change = changed(from)
  local data = '{"epoch":"' .. ring('epoch') .. '","sync_to":{"' .. p .. '":"' .. cut .. '"},"members":'
    .. quoted(redis.call('HKEYS', K .. 'members')) .. ',"part":' .. p .. ',"part_epoch":"' .. e
    .. '","from":"' .. from .. '","draining":' .. quoted(permits) .. ',"change":"' .. changed(to) .. '"}'
  if to == '-' then
    announce('leave', from, '0', data) -- no part of a resize: that begins with the next plan
  else
    tell(to, 'sync', '2', data)
    announce('sync', 'Master', '2', data)
  end
  if redis.call('HGET', K .. 'plan', p) == to then settle(p) end
  return e, cut, change, lost
end
