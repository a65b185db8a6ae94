-- History events that wait to be read, in the order in which they came.
-- keys: seq outbox events

local function append_events(id, facts, raws)
  local place = redis.call('INCRBY', K.seq, #raws) - #raws
  local bytes, places = {}, {}
  for number, raw in ipairs(raws) do
    facts.rows = facts.rows + 1
    local event_id = id .. ':' .. facts.rows
    bytes[#bytes + 1], bytes[#bytes + 2] = event_id, raw
    places[#places + 1], places[#places + 2] = place + number, event_id
    -- Lua hands over no more than some thousand values at a time.
    if #bytes == 2000 or number == #raws then
      redis.call('HSET', K.events, unpack(bytes))
      redis.call('ZADD', K.outbox, unpack(places))
      bytes, places = {}, {}
    end
  end
end
