-- The oldest events.
-- keys: outbox events

local found = {}
if B.limit > 0 then
  for _, event_id in ipairs(redis.call('ZRANGE', K.outbox, 0, B.limit - 1)) do
    found[#found + 1] = {event_id, redis.call('HGET', K.events, event_id)}
  end
end
return cmsgpack.pack({found, {}})
