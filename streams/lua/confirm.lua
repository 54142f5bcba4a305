-- Writes something, so that the caller's connection has a write of its own for the server to confirm.
-- KEYS[1] prefix of the shard
-- Returns a number without meaning.
-- A script, since it may write where memory is full: a repeat writes nothing else, and then the server
-- would answer for what its connection wrote before that, if anything.
return redis.call('INCR', KEYS[1] .. 'confirm')
