-- Gives the entries of a stream from one id to another to f, in order: so many at most, and no more once their fields
-- had so many bytes. Nobody knows how large entries are before they are read, so it begins with one. Returns how many
-- there were, and the id of the last if more may follow.
local function walk(stream, from, to, most, bytes, f)
  local seen, read, piece = 0, 0, 1
  while seen < most and read < bytes do
    local asked = math.min(piece, most - seen)
    local page = try('XRANGE', stream, from, to, 'COUNT', asked) or {}
    for _, e in ipairs(page) do
      for i = 2, #e[2], 2 do read = read + #e[2][i] end
      f(e)
    end
    seen = seen + #page
    if #page < asked then return seen end
    from = '(' .. page[#page][1]
    piece = math.max(1, math.min(4 * piece, 64, math.floor((bytes - read) * seen / math.max(read, 1))))
  end
  return seen, string.sub(from, 2)
end
