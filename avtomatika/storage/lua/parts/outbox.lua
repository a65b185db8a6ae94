-- History events that wait to be read, in the order in which they came.
-- keys: seq outbox events

local function append_event(id, facts, raw)
  facts.rows = facts.rows + 1
  local event_id = id .. ':' .. facts.rows
  redis.call('HSET', K.events, event_id, raw)
  redis.call('ZADD', K.outbox, redis.call('INCR', K.seq), event_id)
end
