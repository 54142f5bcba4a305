-- Creates the records of a shard's partitions, or what is missing of them.
-- uses: protocol gap
-- KEYS[1] prefix of the shard
-- ARGV[1] first partition, ARGV[2] last, ARGV[3] step, ARGV[4] partitions of the queue, ARGV[5] the server, or ''
-- Returns how many owner records were made. A record that was lost while its stream
-- still has a group is rebuilt from the group, at an epoch that was never used: the
-- clock in seconds is above every counted epoch. Where there is no stream, whatever an id of before names is gone.
local time = redis.call('TIME')
local now = time[1]
local ms = tonumber(now) * 1000 + math.floor(tonumber(time[2]) / 1000)
if redis.call('HEXISTS', K .. 'ring', 'epoch') == 0 then
  redis.call('HSET', K .. 'ring', 'epoch', '0', 'phase', '0', 'mode', 'key', 'members', '[]',
    'partitions', ARGV[4], 'term', '0', 'generation', now)
  if ARGV[5] ~= '' then redis.call('HSET', K .. 'ring', 'server', ARGV[5]) end
end

-- Notes that whatever an id of before names is gone, and has ids go on behind it: the clock may go back.
local function from_here(p, stream)
  local top = note_gap(p, stream, ms - 1)
  if top then redis.pcall('XSETID', stream, top) end -- a user without the right: then the clock alone tells them apart
end

local made = 0
for p = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]) do
  local f = string.format('%.0f', p)
  local stream = K .. 'jobs:' .. f
  local record = redis.call('HGET', K .. 'owner', f)
  if not record then
    local owner, epoch = '-', '0'
    if redis.call('EXISTS', stream) == 1 then
      for _, g in ipairs(redis.call('XINFO', 'GROUPS', stream)) do
        for i = 1, #g, 2 do
          if g[i] == 'name' then owner, epoch = g[i + 1], now end
        end
      end
    end
    if epoch == '0' then
      local there = redis.call('EXISTS', stream) == 1
      redis.call('XGROUP', 'CREATE', stream, '-', '0', 'MKSTREAM')
      if not there then from_here(f, stream) end
    end
    redis.call('HSET', K .. 'owner', f, owner .. ' ' .. epoch)
    redis.call('HSETNX', K .. 'plan', f, '-')
    made = made + 1
  elseif redis.call('EXISTS', stream) == 0 then
    redis.call('XGROUP', 'CREATE', stream, string.match(record, '^(%S+)'), '0', 'MKSTREAM')
    from_here(f, stream)
  end
end
return made
