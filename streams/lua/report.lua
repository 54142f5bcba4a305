-- A worker's reply to a phase.
-- uses: protocol plan
-- KEYS[1] prefix of the shard
-- ARGV[1] incarnation, ARGV[2] ring epoch, ARGV[3] phase, ARGV[4] data JSON
-- Returns {ring epoch, phase after it} | {'FENCED'}
if not member(ARGV[1]) then return {'FENCED'} end
if ARGV[2] == ring('epoch') then
  reply(ARGV[1], ARGV[2], ARGV[3], ARGV[4])
  advance()
end
return {ring('epoch'), ring('phase')}
