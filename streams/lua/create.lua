-- Creates the records of a shard's partitions, or what is missing of them.
-- uses: protocol gap
-- KEYS[1] prefix of the shard
-- ARGV[1] first partition, ARGV[2] last, ARGV[3] step, ARGV[4] partitions of the queue, ARGV[5] the server, or ''
-- Returns how many owner records were made. A record that was lost while its stream
-- still has a group is rebuilt from the group, at an epoch that was never used: the
-- clock in seconds is above every counted epoch. Where there is no stream, whatever an id of before names is gone.
local ms = clock()
local now = string.format('%.0f', math.floor(ms / 1000))
if redis.call('HEXISTS', K .. 'ring', 'epoch') == 0 then
  redis.call('HSET', K .. 'ring', 'epoch', '0', 'phase', '0', 'mode', 'key', 'members', '[]',
    'partitions', ARGV[4], 'term', '0', 'generation', now)
  if ARGV[5] ~= '' then redis.call('HSET', K .. 'ring', 'server', ARGV[5]) end
end

local made = 0
for p = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]) do
  local f = string.format('%.0f', p)
  local stream = K .. 'jobs:' .. f
  local record = redis.call('HGET', K .. 'owner', f)
  if not record then
    local owner, epoch = '-', '0'
    if redis.call('EXISTS', stream) == 1 then
      for _, g in ipairs(groups_in(redis.call('XINFO', 'GROUPS', stream))) do owner, epoch = g[1], now end
    end
    if epoch == '0' then
      local there = redis.call('EXISTS', stream) == 1
      redis.call('XGROUP', 'CREATE', stream, '-', '0', 'MKSTREAM')
      if not there then ids_from(f, stream, ms - 1) end
    end
    redis.call('HSET', K .. 'owner', f, owner .. ' ' .. epoch)
    redis.call('HSETNX', K .. 'plan', f, '-')
    made = made + 1
  elseif redis.call('EXISTS', stream) == 0 then
    redis.call('XGROUP', 'CREATE', stream, string.match(record, '^(%S+)'), '0', 'MKSTREAM')
    ids_from(f, stream, ms - 1)
  end
end
return made
