-- The rows of the oldest steps.
-- keys: outbox events

local found = {}
if B.limit > 0 then
  for _, name in ipairs(redis.call('ZRANGE', K.outbox, 0, B.limit - 1)) do
    found[#found + 1] = {name, redis.call('HGET', K.events, name)}
  end
end
return cmsgpack.pack({found, {}})
