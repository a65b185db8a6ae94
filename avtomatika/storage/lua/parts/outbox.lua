-- History that waits to be read. The rows of one step lie under one name, made of the job and the number of the first row;
-- in front of their bytes stands how many they are.
-- keys: outbox events

local function append_rows(id, facts, raw, number)
  local name = id .. ':' .. (facts.rows + 1)
  facts.rows = facts.rows + number
  redis.call('HSET', K.events, name, struct.pack('>I4', number) .. raw)
  redis.call('ZADD', K.outbox, next_seq(), name)
end
