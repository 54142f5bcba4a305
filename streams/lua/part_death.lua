-- Who has died, and what that counts against the jobs it ran; put after part_protocol.lua and part_retry.lua.

-- Names a worker's last heartbeat: '<number> <reach in ms>', and when its lease ends, which every
-- renewal moves on. A user without the right to ask for that has the number alone, and so has the in-memory
-- store, which knows how long a key has left and not when it ends.
local function last_beat(inc)
  local beat = redis.call('HGET', K .. 'beats', inc)
  local ends = redis.REDIS_VERSION and redis.pcall('PEXPIRETIME', K .. 'alive:' .. inc)
  if type(ends) ~= 'number' or ends < 0 then return beat or '' end
  return (beat or '- 0') .. ' ' .. string.format('%.0f', ends)
end

-- Notes that a worker's process has died: it was up and stopped answering. Who leaves, is told to
-- leave or hands nothing over while it answers does not die. Deaths are kept for a day, 1,000 of them.
local function died(inc)
  local key, now = K .. 'deaths', clock()
  local all = redis.pcall('HGETALL', key)
  if all.err then return end
  local oldest, since = nil, now
  for i = 1, #all, 2 do
    local at = tonumber(all[i + 1]) or 0
    if at < now - 86400000 then redis.call('HDEL', key, all[i]) end
    if at < since then oldest, since = all[i], at end
  end
  if oldest and #all >= 2000 then redis.call('HDEL', key, oldest) end
  redis.call('HSET', key, inc, string.format('%.0f', now))
end

-- A crash of the worker that held the job under an epoch: a new suspect, or one more count for a
-- suspect that was marked in that tenure, with what is known of the death. Nothing, unless that
-- worker has died. It comes after a change of owner, and never undoes one.
local function count_crash(p, id, inc, epoch)
  local at = redis.pcall('HGET', K .. 'deaths', inc)
  if type(at) ~= 'string' then return end
  local r = retry_record(p, id)
  local ran = r.ran
  local kind, marked, till = string.match(r.mark, '^([as]%d*)%.(%d+)%.?(%d*)$')
  if kind and marked == epoch then
    if till == '' or tonumber(at) > tonumber(till) then kind = 's' end
    local _, kept = string.gsub(ran, '@', '@')
    if kept >= 64 then ran = '/' .. string.match(ran, ',(.*)$') end
    r.ran = (ran == '' and '/' or ran .. ',') .. kind .. '@' .. at
    r.crashes, r.mark = string.format('%.0f', tonumber(r.crashes) + 1), ''
  elseif r.crashes == '0' then
    r.crashes, r.ran = '1', '/h@' .. at
  else
    return
  end
  redis.pcall('HSET', K .. 'retry:' .. p, id, retry_text(r))
end
