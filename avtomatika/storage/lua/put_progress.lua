-- Remembers how far a job is, unless it has ended or is unknown.
-- parts: signals
-- keys: facts progress

local facts = read_record(K.facts, B.id)
local signals = {}
if facts and not facts.ended then
  redis.call('HSET', K.progress, B.id, B.raw)
  signals[1] = signal('progress', B.id)
end
publish(signals)
return cmsgpack.pack({false, signals})
