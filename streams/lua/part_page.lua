-- Fields of a hash by partition. A hash of up to 512 short values is searched from its beginning for each
-- field (redis.io, "hash-max-listpack-entries"): asked for many of few it is taken whole.
local function of_parts(key, parts)
  if #parts == 0 then return {} end
  local n = redis.call('HLEN', key)
  if n > 512 or n > 4 * #parts then return redis.call('HMGET', key, unpack(parts)) end
  local all, at, out = redis.call('HGETALL', key), {}, {}
  for i = 1, #all, 2 do at[all[i]] = all[i + 1] end
  for i, p in ipairs(parts) do out[i] = at[p] or false end
  return out
end

-- The partitions of a page, as fields.
local function page_of(first, last, step)
  local parts = {}
  for p = tonumber(first), tonumber(last), tonumber(step) do parts[#parts + 1] = string.format('%.0f', p) end
  return parts
end
