-- Forgets rows that are safely elsewhere. All at once: a call for each would be most of what history costs here.
-- parts: jobs
-- keys: outbox events

local names = {}
for place, step in ipairs(B.steps) do
  names[place] = step[1]
end
local stored = redis.call('HMGET', K.events, unpack(names))
local gone, acknowledged = {}, {}
for place, step in ipairs(B.steps) do
  if stored[place] then
    gone[#gone + 1] = step[1]
    acknowledged[step[2]] = (acknowledged[step[2]] or 0) + struct.unpack('>I4', stored[place])
  end
end
if #gone > 0 then
  redis.call('HDEL', K.events, unpack(gone))
  redis.call('ZREM', K.outbox, unpack(gone))
end
for job_id, number in pairs(acknowledged) do
  local facts = read_record(K.facts, job_id)
  facts.acked = facts.acked + number
  write_record(K.facts, job_id, facts)
  if facts.ended then
    settle(job_id, facts)
  end
end
return cmsgpack.pack({false, {}})
