-- The text of a retry record, as package job has it: 'attempts|not before|crashes|mark|error', where the deaths it ran in
-- follow the crashes, after a slash.

local function retry_text(r)
  return r.attempts .. '|' .. r.not_before .. '|' .. r.crashes .. r.ran .. '|' .. r.mark .. '|' .. r.error
end

-- A job's record; that of a job that never failed, where it has none that can be read.
local function retry_record(p, id)
  local text = redis.pcall('HGET', K .. 'retry:' .. p, id)
  local r = {}
  if type(text) == 'string' then
    r.attempts, r.not_before, r.crashes, r.ran, r.mark, r.error = string.match(text, '^(%d+)|(%d+)|(%d+)([^|]*)|([^|]*)|(.*)$')
  end
  if not r.attempts then r = {attempts = '0', not_before = '0', crashes = '0', ran = '', mark = '', error = ''} end
  return r
end

-- The record of a failed attempt says how long the job waits, '+<ms>': from now on, by this server's clock.
-- Workers' clocks differ, and the next owner goes by what stands here.
local function from_now(text)
  local attempts, delay, rest = string.match(text, '^(%d+)|%+(%d+)(|.*)$')
  if not attempts then return text end
  return attempts .. '|' .. string.format('%.0f', clock() + tonumber(delay)) .. rest
end
